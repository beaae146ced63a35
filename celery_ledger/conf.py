"""Every number of the ledger that a project may change, with its default: in one setting, `LEDGER =
{"BATCH": 500}`. A number that is a fact (of a broker, of a calendar) stands where it is used.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings


def _itself(text: str) -> Collection[str]:
    return [text]


class LedgerSettings:
    """`ledger_settings.BATCH` is what `settings.LEDGER` says, or else the default written here."""

    # What a row takes
    ARGS_MAX_BYTES: int = 16 * 1024  # of a call; more fails there, also a later step's own
    GATHERED_MAX_BYTES: int = 8 * 1024 * 1024  # with what the ledger adds: results of other jobs
    RESULT_MAX_BYTES: int = 64 * 1024
    HEADERS_MAX_BYTES: int = 4 * 1024  # of a call's own
    ERROR_MAX_CHARS: int = 4000
    TRACEBACK_MAX_CHARS: int = 8000  # of its end, where the error is
    SCRUB: Callable[[str], str] | str = str  # an error's text on its way into a row; or its path
    ABOUT: Callable[[str], Collection[str]] | str = staticmethod(_itself)  # for `jobs list --about`
    HISTORY_MAX: int = 20  # ends of attempts that a row remembers
    HISTORY_MESSAGE_MAX_CHARS: int = 300
    EFFECTS_MAX: int = 20  # rows that a job names as written by it
    OWNER: str = "owner"  # whose a job is: this name of the context in which it is promised

    PROMISE_BATCH: int = 1000  # rows of jobs that one statement writes

    # Attempts
    LEASE_GRACE_S: float = 15  # a lease outlives the hard time limit by this much
    MAX_LOSSES: int = 3  # a job that took this many processes down with it is dead
    SHARED_LOSSES: int = 2  # one that was lost this often beside others is tried alone
    MAX_COLLISIONS: int = 3  # re-runs of the body at once: deadlocks, serialization failures
    OWED_PAUSE_S: float = 1.0  # between tries to write a verdict that Postgres did not take
    MAX_TROUBLES: int = 10  # attempts after which a database error is not taken for a passing one

    # First attempts at jobs of one task that wait: one process makes them in one transaction
    BATCH_ATTEMPTS: int = 16  # at most; 1 for none
    BATCH_S: float = 0.1  # for so long others are begun; half is aimed at
    BATCH_REDO_S: float = 1.0  # each is made again at once, unless it went wrong later than this
    BATCH_REST_S: float = 60  # at most each is made by itself after one went wrong: 1 s, 2 s, …
    BATCH_FIRST_REST_S: float = 1.0  # ... and at first
    BATCH_REMEMBERED: int = 5  # jobs of a task, by which it is guessed how many are short enough
    BATCH_GUESS_S: float = 1.0  # how long one takes, before that many have run
    BATCH_QUICKEST_S: float = 0.0001  # none is taken for shorter

    # Whose job is next
    TURN_LOOK_S: float = 0.05  # how often a process asks whether jobs of several owners wait
    WEIGHTS: Mapping[str, int] = {}  # owners of whom so many jobs begin for one of another's
    WEIGHT_MAX: int = 100  # one select finds the jobs of a turn

    # Limits by key
    LIMIT_KEY_MAX_CHARS: int = 200
    LIMIT_PLACES_MAX: int = 1000  # of one `concurrency`; each claim looks at those that are taken
    LIMIT_TRIES: int = 20  # for a place; each that somebody else was quicker at is one less to try
    LIMIT_SOON_S: float = 1.0  # in line, when a place is just being given back
    LIMIT_SWEEP_S: float = 5  # between two looks for lines of which nobody will bring the next
    LIMIT_SWEEP_KEYS: int = 200  # ... at so many of them
    LIMIT_LOOK_S: float = 3600  # in line, if no clock looks either: one of the release before

    # Queues, each heard when those before it are empty
    QUEUES: tuple[str, ...] = ()  # task_default_queue, OUTSIDE_QUEUE and BULK_QUEUE, unless told
    OUTSIDE_QUEUE: str = "outside"
    BULK_QUEUE: str = "bulk"
    QUEUE_PATIENCE_S: float = 60  # one that nothing was taken from for so long comes first, once

    # Calls to the outside world, in threads of one process
    THREADS_MAX: int = 100  # calls at a time
    THREADS_KEPT: int = 5  # of them, kept for each queue that comes before
    THREADS_BEGIN: int = 20  # calls that begin together
    THREADS_BEGIN_BULK: int = 2  # ... of bulk work: others stand behind their statements
    THREADS_CONNECTIONS: int = 1  # to Postgres, for the statements of all calls
    THREADS_IN_LINE: int = 5  # calls that wait for one of them; behind more, no other begins
    THREADS_PATIENCE_S: float = 15  # how long a call may wait for one
    THREADS_PACE_S: float = 0.02  # between two looks for what is due
    THREADS_LOOK_S: float = 0.5  # ... when no bell rings
    THREADS_SILENCE_S: float = 30  # a process that has not moved for so long is killed
    THREADS_WATCH_S: float = 1.0  # how often the main process looks whether that one moves
    THREADS_JOIN_S: float = 0.05  # ... and whether it has ended, while the worker stops

    # The clock
    CLOCK_INTERVAL_S: float = 1.0
    LEAD_S: int = 5  # after which a clock that froze in the lead loses it
    CLOCK_FIRST_TICK_S: float = 5  # a worker that starts waits so long for its clock, at most
    CLOCK_JOIN_S: float = 10  # and one that stops
    SCHEDULE_ON_TIME: timedelta = timedelta(minutes=1)  # a slot promised later than this was missed
    SCHEDULE_REST: timedelta = timedelta(minutes=1)  # for an entry that cannot be promised
    SCHEDULE_LOOK: timedelta = timedelta(seconds=5)  # at one that is paused
    WORKER_SILENCE_S: float = 15  # a worker not heard from for this long has lost its jobs
    BATCH: int = 200  # rows that the clock touches in one statement
    RING_GRACE_S: float = 5  # how long a bell may be on its way before the clock rings again
    BULK_RING_GRACE_S: float = 60  # a thousand bulk jobs that wait are no reason to ring twice
    RING_CAP_S: float = 300
    RING_BUDGET: int = 1000  # bells in one queue at a time
    LOW_WATER_LAG_S: float = 5  # how far behind the clock jobs are looked for, and from when on
    LOW_WATER_WHOLE_S: float = 300  # ... which is found anew, from the oldest job, so often
    KEEP: timedelta = timedelta(days=14)  # finished jobs, their keys, chords; then pruned
    PRUNE_EVERY_S: float = 60.0
    PRUNE_BATCHES: int = 5  # of one tick, so that a clock prunes faster than its worker works

    # A worker that lives and begins nothing, though it could
    DEAF_S: float = 10  # idle beside work that is due; each step of its cure is given as long
    DEAF_RECONNECT_S: float = 60  # it may look for its broker, which others reach, for so long
    DEAF_AGAIN_S: float = 60  # deaf again within it: the step that helped was not enough

    # A worker that is told to stop
    STOP_S: float = 30  # what the platform leaves between SIGTERM and SIGKILL
    DRAIN_S: float = 20  # ... of which its jobs may take so long to finish
    DRAIN_IDLE_S: float = 5  # ... and its pool without any job; an idle one ends in 3 s by itself
    STOP_SIGN_OFF_S: float = 5  # ... and so long it gives back what did not finish

    # The bell
    BELL_TIMEOUT_S: float = 0.4  # connect, and read or write, each
    BELL_REST_S: float = 3.0  # after a failure nobody waits for the broker again for this long
    BELL_PROBE_KEEP_S: int = 60  # what a probe of a full broker writes

    # What is told of it
    STATS_PAGES: int = 500  # of the table, that `jobs stats` counts; it samples as many of more
    STATS_ROWS: int = 100  # in a state other than done, that it counts one by one
    JOBS_LIST_MAX: int = 1000  # that `jobs list` prints
    WHY_CHILDREN_MAX: int = 20  # that `jobs why` names
    ASKED_SHORT_MAX: int = 5  # jobs that are named when a short id means several
    ASKED_NAMES_MAX: int = 200  # ids that one word may stand for (ABOUT)
    METRICS_PREFIX: str = "ledger"
    METRICS_ROWS_MAX: int = 10_000  # that one statement looks at
    METRICS_TASKS_MAX: int = 50  # names that become labels
    METRICS_QUEUES_MAX: int = 20
    METRICS_WINDOW: timedelta = timedelta(minutes=5)
    OTLP_ENDPOINT: str = ""  # of a collector of OpenTelemetry; no span is made without one
    OTLP_SERVICE_NAME: str = "celery"
    OTLP_TIMEOUT_S: int = 3
    OTLP_PAUSE_S: int = 1

    # Django's own tasks
    DJANGO_BACKOFF_S: int = 1  # before the first retry; doubles
    DJANGO_SOFT_SHARE: float = 0.8  # of a time limit, after which the body is told

    FAILPOINTS: str | None = None  # for tests alone: a folder of orders for the failpoints

    def __getattribute__(self, name: str) -> Any:
        if name.isupper() and name in (overrides := getattr(settings, "LEDGER", {})):
            return overrides[name]
        return super().__getattribute__(name)

    def unknown(self) -> list[str]:
        """What `settings.LEDGER` names that is no number of the ledger."""
        return sorted(set(getattr(settings, "LEDGER", {})) - set(type(self).__annotations__))


ledger_settings = LedgerSettings()
