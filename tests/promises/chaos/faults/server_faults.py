"""What may happen to Postgres and the broker themselves."""

import signal
from contextlib import suppress
from random import Random

from django.db import connection
from redis import Redis, RedisError

from config.embedded.server import Server, comes_true
from tests.promises.chaos.places import Agenda, NotNow, kill
from tests.promises.chaos.world import World

END_LIMIT_S = 10
TERMINATE_HALF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"""
SESSIONS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
   AND backend_type = 'client backend'"""


class ServerFaults:
    def __init__(self, world: World, agenda: Agenda, dice: Random, broker: Redis) -> None:
        self.world, self.agenda, self.dice, self.broker = world, agenda, dice, broker

    # --- Postgres ---------------------------------------------------------------------------------

    def restart_postgres(self) -> None:
        """Fast: every session is ended, nothing committed is lost."""
        self._end(self.world.postgres, signal.SIGINT)

    def crash_postgres(self) -> None:
        """Immediate: it has to recover from its log, and asynchronous commits may be forgotten."""
        self._end(self.world.postgres, signal.SIGQUIT)

    def kill_session(self) -> None:
        """One session's process is killed, as by the kernel; Postgres ends all others, recovers."""
        with connection.cursor() as cursor:
            cursor.execute(SESSIONS)
            pids = sorted(pid for (pid,) in cursor.fetchall())
        if not pids:
            raise NotNow
        kill(self.dice.choice(pids), signal.SIGKILL)

    def terminate_sessions(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(TERMINATE_HALF)

    # --- the broker -------------------------------------------------------------------------------

    def flush_broker(self) -> None:
        self.broker.flushdb()

    def freeze_broker(self) -> None:
        pid = self._pid(self.world.broker)
        kill(pid, signal.SIGSTOP)
        self.agenda.later(self.dice.uniform(0.2, 2.0), lambda: kill(pid, signal.SIGCONT))

    def fill_broker(self) -> None:
        self.broker.config_set("maxmemory", "1")
        self.agenda.later(self.dice.uniform(0.3, 2.0), self._make_room)

    def kill_broker(self) -> None:
        """It comes back empty, or with the bells of an earlier `restart_broker`: long rung, perhaps
        long answered.
        """
        self._end(self.world.broker, signal.SIGKILL)

    def restart_broker(self) -> None:
        """It comes back with what it held."""
        with suppress(RedisError):  # it closes the connection instead of answering
            self.broker.execute_command("SHUTDOWN", "SAVE", "NOW")
        self._end(self.world.broker, signal.SIGTERM)

    def _make_room(self) -> None:
        with suppress(RedisError):  # a restart has made room already
            self.broker.config_set("maxmemory", "64mb")

    def _end(self, server: Server, number: signal.Signals) -> None:
        """Down at once, and up again in a moment."""
        if server.pid is None and server is self.world.postgres:
            raise NotNow
        for how in (
            number,
            signal.SIGQUIT,
            signal.SIGKILL,
        ):  # Postgres may be too deep in its recovery for the first
            if (pid := server.pid) is not None:
                kill(pid, how)
                kill(pid, signal.SIGCONT)  # it may be frozen
            if comes_true(lambda: server.pid is None, END_LIMIT_S):
                break
        self.agenda.later(self.dice.choice((0.0, 0.3, 1.0)), self.world.restart_servers)

    def _pid(self, server: Server) -> int:
        if (pid := server.pid) is None:
            raise NotNow
        return pid
