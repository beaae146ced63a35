"""Nine pressures, after a public harness for queues in Postgres. Each lasts so many seconds, takes
itself away and returns how often it struck.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random
from typing import LiteralString

import psycopg

from config.embedded.server import comes_true
from tests.bench.pressure.belt import END_LIMIT_S, TABLE, WORKER, Belt
from tests.promises.chaos.places import kill

Pressure = Callable[[Belt, float, Random], int]

BURST = 5000
READERS = ("stats", "list", "count")
DOWN_LIMIT_S = 10.0
NONE_IS_FREE = "too many clients already"
END_SESSIONS: LiteralString = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"""


def worker_restart(belt: Belt, seconds: float, dice: Random) -> int:
    """SIGTERM to every process; when all have ended, a new worker."""
    strikes = 0
    for _ in moments(belt, seconds, dice, (2, 5)):
        belt.worker.stop_politely()
        belt.worker.tree.process.wait(timeout=END_LIMIT_S)
        belt.worker.start_again()
        belt.wait_for_worker()
        strikes += 1
    return strikes


def backend_kill(belt: Belt, seconds: float, dice: Random) -> int:
    """All sessions of the worker are ended, again and again."""
    strikes = 0
    with belt.session() as session:
        for _ in moments(belt, seconds, dice, (0.2, 1)):
            strikes += session.execute(END_SESSIONS, [WORKER]).rowcount
    return strikes


def pool_exhaustion(belt: Belt, seconds: float, dice: Random) -> int:
    """Others hold every connection that is free, and the worker's own as soon as it has one."""
    held = 0
    with belt.session() as session, ExitStack() as others:
        for _ in moments(belt, seconds, dice, (0.1, 0.2)):
            session.execute(END_SESSIONS, [WORKER])
            held += take_all(belt, others)
    return held


def take_all(belt: Belt, others: ExitStack) -> int:
    """The connections that were free."""
    taken = 0
    try:
        while True:
            others.enter_context(belt.session())
            taken += 1
    except psycopg.OperationalError as exc:
        if NONE_IS_FREE not in str(exc):
            raise
    return taken


def crash_recovery(belt: Belt, seconds: float, dice: Random) -> int:
    """Postgres is killed, or told to end at once, and recovers from its log when it is started."""
    strikes = 0
    for _ in moments(belt, seconds, dice, (2, 5)):
        pid = belt.postgres.pid
        assert pid, "Postgres has ended by itself"
        kill(pid, dice.choice((signal.SIGKILL, signal.SIGQUIT)))
        assert comes_true(lambda: belt.postgres.pid is None, DOWN_LIMIT_S)
        belt.rest(dice.uniform(0, 2))
        belt.postgres.ensure()
        strikes += 1
    return strikes


def repeated_kills(belt: Belt, seconds: float, dice: Random) -> int:
    """One of the worker's processes is killed, again and again."""
    strikes = 0
    for _ in moments(belt, seconds, dice, (0.3, 1)):
        if children := belt.worker.children:
            kill(dice.choice(children), signal.SIGKILL)
            strikes += 1
    return strikes


def idle_in_transaction(belt: Belt, seconds: float, dice: Random) -> int:
    """Somebody holds a snapshot and no lock, longer than the role's limits would let him."""
    with belt.session() as session:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.execute(f"SELECT count(*) FROM {TABLE}")
        belt.rest(seconds)
        session.execute("COMMIT")  # raises if it was ended meanwhile
    return 1


def one_and_a_half_times_the_load(belt: Belt, seconds: float, dice: Random) -> int:
    """More is promised than can be done."""
    belt.tell("pace", 1.5 * belt.able_per_s)
    belt.rest(seconds)
    belt.tell("pace", belt.steady_per_s)
    return 1


def active_readers(belt: Belt, seconds: float, dice: Random) -> int:
    """Three sessions look at the ledger without a pause."""
    module = "tests.bench.pressure.reader"
    trees = [belt.stack.start_command(sys.executable, "-m", module, what) for what in READERS]
    belt.rest(seconds)
    for tree in trees:
        assert tree.process.poll() is None, tree.output()
        tree.kill()
    return sum(tree.output().count(".") for tree in trees)


def burst(belt: Belt, seconds: float, dice: Random) -> int:
    """Several thousand jobs are promised by one transaction."""
    belt.tell("burst", BURST)
    belt.rest(seconds)
    return 1


PRESSURES: dict[str, Pressure] = {
    "worker restart": worker_restart,
    "backend kill": backend_kill,
    "pool exhaustion": pool_exhaustion,
    "crash recovery": crash_recovery,
    "repeated kills": repeated_kills,
    "idle in transaction": idle_in_transaction,
    "1.5x load": one_and_a_half_times_the_load,
    "active readers": active_readers,
    "burst": burst,
}


def moments(
    belt: Belt, seconds: float, dice: Random, pause_s: tuple[float, float]
) -> Iterator[None]:
    """One after another, the first at once, until the time is over."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        yield
        belt.rest(min(left, dice.uniform(*pause_s)))
