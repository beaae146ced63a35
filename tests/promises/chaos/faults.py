"""Everything that may go wrong with processes, broker and database, by name. Each fault is over when it returns."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from django.db import connection
from redis import Redis, RedisError

from config import celery_app
from jobs.bell import Ring
from jobs.models import Job
from tests.promises.processes import Stack, Tree, Web

GARBAGE = ("x", "[1,2,3]", "{}", b"\xff\x00", '{"body": 1}')


class Faults:
    """Injects one fault at a time and counts them; what it stops or kills it starts again."""

    def __init__(self, stack: Stack, web: Web, broker: Redis, dice: Random, worker_options: tuple[str, ...]) -> None:
        self.stack, self.web, self.broker, self.dice = stack, web, broker, dice
        self.worker_options = worker_options
        self.workers: list[Tree] = []
        self.frozen: list[tuple[float, Tree]] = []
        self.injected: Counter[str] = Counter()
        self.kinds: list[Callable[[], None]] = [
            self.kill_child, self.kill_child, self.kill_parent, self.kill_tree, self.deploy, self.freeze,
            self.flush_broker, self.freeze_broker, self.terminate_sessions, self.double_bells, self.put_garbage,
            self.kill_web_child,
        ]  # fmt: skip

    def start_workers(self, count: int) -> None:
        for _ in range(count):
            self.workers.append(self.stack.start("worker", *self.worker_options))

    def inject(self) -> None:
        self.thaw(time.monotonic())
        fault = self.dice.choice(self.kinds)
        fault()
        self.injected[fault.__name__] += 1

    def end(self) -> None:
        """No more faults: everybody awake, the usual number of workers."""
        self.thaw(float("inf"))
        for worker in self.workers:
            if worker.process.poll() is not None:
                self._replace(worker)

    # --- processes ------------------------------------------------------------------------------------------

    def kill_child(self) -> None:
        if children := children_of(self._victim().process.pid):
            kill(self.dice.choice(children), signal.SIGKILL)

    def kill_parent(self) -> None:
        """Its orphans may live on for a moment, and finish what they have begun."""
        victim = self._victim()
        kill(victim.process.pid, signal.SIGKILL)
        self._replace(victim)

    def kill_tree(self) -> None:
        victim = self._victim()
        victim.kill()
        self._replace(victim)

    def deploy(self) -> None:
        """SIGTERM to every process, perhaps twice, then SIGKILL."""
        victim = self._victim()
        victim.signal(signal.SIGTERM)
        time.sleep(self.dice.uniform(0, 1.5))
        victim.kill()
        self._replace(victim)

    def freeze(self) -> None:
        """For longer than the others wait, or for less; it wakes up as a ghost or as if nothing had been."""
        victim = self._victim()
        victim.signal(signal.SIGSTOP)
        self.frozen.append((time.monotonic() + self.dice.choice((0.5, 3.0, 18.0)), victim))

    def thaw(self, now: float) -> None:
        for until, tree in list(self.frozen):
            if until <= now:
                self.frozen.remove((until, tree))
                with suppress(ProcessLookupError):
                    tree.signal(signal.SIGCONT)

    def kill_web_child(self) -> None:
        for pid in children_of(self.web.tree.process.pid):
            kill(pid, signal.SIGKILL)

    # --- broker and database ----------------------------------------------------------------------------------

    def flush_broker(self) -> None:
        self.broker.flushdb()

    def freeze_broker(self) -> None:
        pid = int(self.broker.info("server")["process_id"])
        kill(pid, signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.2, 2.0))
        kill(pid, signal.SIGCONT)

    def terminate_sessions(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
            )

    def double_bells(self) -> None:
        jobs = list(Job.objects.order_by("?")[:20])
        celery_app.amqp.bell.ring([Ring(str(job.pk), job.task, job.queue) for job in jobs for _ in range(3)])

    def put_garbage(self) -> None:
        with suppress(RedisError):
            self.broker.lpush("kaiten", *GARBAGE)

    def _victim(self) -> Tree:
        awake = [tree for tree in self.workers if tree not in [frozen for _, frozen in self.frozen]]
        if not awake:
            self.thaw(float("inf"))
        return self.dice.choice(awake or self.workers)

    def _replace(self, tree: Tree) -> None:
        self.workers[self.workers.index(tree)] = self.stack.start("worker", *self.worker_options)


def children_of(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            return [int(child) for child in listed.read().split()]
    except FileNotFoundError:
        return []


def kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
