"""The ledger's settings with their defaults. A project changes them in one setting of Django's,
`LEDGER = {"BATCH": 500}`. A number that is a fact, of a broker or a calendar, is where it is used.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings


def _itself(text: str) -> Collection[str]:
    return [text]


class LedgerSettings:
    """`ledger_settings.BATCH` is the value in `settings.LEDGER`, or else the default written here.

    The README's table of settings is made from the annotated lines and their comments.
    """

    # What a row takes
    ARGS_MAX_BYTES: int = 16 * 1024  # the arguments of a call; a larger one is refused
    GATHERED_MAX_BYTES: int = 8 * 1024 * 1024  # arguments that are results of other jobs
    RESULT_MAX_BYTES: int = 64 * 1024
    HEADERS_MAX_BYTES: int = 4 * 1024  # those that a call adds to Celery's
    ERROR_MAX_CHARS: int = 4000
    TRACEBACK_MAX_CHARS: int = 8000  # its end is kept, where the error is
    SCRUB: Callable[[str], str] | str = str  # rewrites the texts of errors to keep; or its path
    ABOUT: Callable[[str], Collection[str]] | str = staticmethod(_itself)  # for `jobs list --about`
    HISTORY_MAX: int = 20  # ends of attempts that a row remembers
    HISTORY_MESSAGE_MAX_CHARS: int = 300
    EFFECTS_MAX: int = 20  # rows that a job names as written by it
    OWNER: str = "owner"  # the name of the context under which a job's owner stands

    PROMISE_BATCH: int = 1000  # rows of jobs that one statement writes

    # Attempts
    LEASE_GRACE_S: float = 15  # a lease outlives the hard time limit by this much
    MAX_LOSSES: int = 3  # a job that was lost with this many processes is dead
    SHARED_LOSSES: int = 2  # a job that was lost this often beside others runs alone
    MAX_COLLISIONS: int = 3  # re-runs of the body at once: deadlocks, serialization failures
    OWED_PAUSE_S: float = 1.0  # between tries to write a verdict that Postgres did not take
    MAX_TROUBLES: int = 10  # after this many attempts a database error is the job's own

    # First attempts at jobs of one task, several of them in one transaction
    BATCH_ATTEMPTS: int = 16  # at most; 1 for never more than one
    BATCH_S: float = 0.1  # none begins later than this after the first; half of it is aimed at
    BATCH_REDO_S: float = 1.0  # after a rollback each is made again at once, unless that came later
    BATCH_REST_S: float = 60  # the longest pause after a rollback, without batches of that task
    BATCH_FIRST_REST_S: float = 1.0  # ... and the first one; each is twice the one before
    BATCH_REMEMBERED: int = 5  # jobs of a task whose times decide how many are made together
    BATCH_GUESS_S: float = 1.0  # what a job is taken to last until so many have run
    BATCH_QUICKEST_S: float = 0.0001  # no job is taken to last less

    # Whose job is next
    TURN_LOOK_S: float = 0.05  # between two looks of a process whether several owners' jobs wait
    WEIGHTS: Mapping[str, int] = {}  # by owner, how many jobs begin in one turn; 1 if not named
    WEIGHT_MAX: int = 100  # since one statement finds all jobs of a turn

    # Limits (concurrency, rate_limit)
    LIMIT_KEY_MAX_CHARS: int = 200
    LIMIT_PLACES_MAX: int = 1000  # of one `concurrency`; each claim reads all that are taken
    LIMIT_TRIES: int = 20  # of one claim to take a place, while other processes are quicker
    LIMIT_SOON_S: float = 1.0  # until a job in line looks again, when a place is just being freed
    LIMIT_SWEEP_S: float = 5  # between two looks for lines whose next job nobody will bring
    LIMIT_SWEEP_KEYS: int = 200  # ... and the lines in one look
    LIMIT_LOOK_S: float = 3600  # until a job in line looks by itself, in case no clock looks

    # Queues in their order: each is looked into when those before it are empty
    QUEUES: tuple[str, ...] = ()  # if empty: task_default_queue, OUTSIDE_QUEUE, BULK_QUEUE
    OUTSIDE_QUEUE: str = "outside"
    BULK_QUEUE: str = "bulk"
    QUEUE_PATIENCE_S: float = 60  # one from which nothing was taken for this long comes first, once

    # Calls to the outside world, in threads of one process
    THREADS_MAX: int = 100  # calls at a time
    THREADS_KEPT: int = 5  # ... of which this many are kept for each queue that comes before
    THREADS_BEGIN: int = 20  # calls that begin together
    THREADS_BEGIN_BULK: int = 2  # ... of bulk work, since others wait behind their statements
    THREADS_CONNECTIONS: int = 1  # to Postgres, for the statements of all calls
    THREADS_IN_LINE: int = 5  # while more calls wait for a connection, no other begins
    THREADS_PATIENCE_S: float = 15  # how long a call waits for a connection
    THREADS_PACE_S: float = 0.02  # between two looks for due jobs
    THREADS_LOOK_S: float = 0.5  # ... if no bell rings
    THREADS_SILENCE_S: float = 30  # a process that has not moved for so long is killed
    THREADS_WATCH_S: float = 1.0  # between two looks of the main process whether that one moves
    THREADS_JOIN_S: float = 0.05  # ... and whether it has ended, while the worker stops

    # The clock
    CLOCK_INTERVAL_S: float = 1.0  # between two ticks
    LEAD_S: int = 5  # after this a clock that froze in the lead loses it
    CLOCK_FIRST_TICK_S: float = 5  # how long a worker that starts waits for the first tick
    CLOCK_JOIN_S: float = 10  # ... and one that stops for the last
    SCHEDULE_ON_TIME: timedelta = timedelta(minutes=1)  # a slot promised later than this was missed
    SCHEDULE_REST: timedelta = timedelta(minutes=1)  # until an entry that failed is tried again
    SCHEDULE_LOOK: timedelta = timedelta(seconds=5)  # between two looks at a paused entry
    WORKER_SILENCE_S: float = 15  # a worker that has not beaten for this long loses its jobs
    BATCH: int = 200  # rows that the clock touches in one statement
    RING_GRACE_S: float = 5  # how long a bell may be on its way before the clock rings again
    BULK_RING_GRACE_S: float = 60  # ... of a bulk job, behind which thousands may wait
    RING_CAP_S: float = 300  # the longest pause between two rings for one job
    RING_BUDGET: int = 1000  # bells in one queue, up to which the clock fills it
    LOW_WATER_LAG_S: float = 5  # how far the time from which on jobs are looked for is behind
    LOW_WATER_WHOLE_S: float = 300  # ... and how often it is found anew from the beginning
    KEEP: timedelta = timedelta(days=14)  # how long finished jobs, their keys and chords are kept
    PRUNE_EVERY_S: float = 60.0  # between two times that old rows are deleted
    PRUNE_BATCHES: int = 5  # in one tick, so that a clock prunes faster than its worker works

    # A deaf worker: it lives, is idle, and begins no due job
    DEAF_S: float = 10  # idle beside due jobs for this long; and between two steps of its cure
    DEAF_RECONNECT_S: float = 60  # ... while it looks for its broker
    DEAF_AGAIN_S: float = 60  # deaf again within this: the next step follows, and not the first

    # A worker that is told to stop
    STOP_S: float = 30  # what the platform leaves between SIGTERM and SIGKILL
    DRAIN_S: float = 20  # ... of which running jobs have this long to finish
    DRAIN_IDLE_S: float = 5  # ... and a pool that runs no job has this long to end
    STOP_SIGN_OFF_S: float = 5  # ... and this long is left to give unfinished jobs back

    # The bell
    BELL_TIMEOUT_S: float = 0.4  # to connect, to read and to write, each
    BELL_REST_S: float = 3.0  # after a failure the broker is left alone for this long
    BELL_PROBE_KEEP_S: int = 60  # until what a probe of the broker has written expires

    # What people and programs are shown
    STATS_PAGES: int = 500  # of the table that `jobs stats` reads; of a larger one, a sample
    STATS_ROWS: int = 100  # in a state other than done, that it counts one by one
    JOBS_LIST_MAX: int = 1000  # jobs that `jobs list` prints
    WHY_CHILDREN_MAX: int = 20  # children of a job that `jobs why` names
    ASKED_SHORT_MAX: int = 5  # jobs that are named when a short id means several
    ASKED_NAMES_MAX: int = 200  # ids that one text may stand for (ABOUT)
    METRICS_PREFIX: str = "ledger"
    METRICS_ROWS_MAX: int = 10_000  # that one statement reads
    METRICS_TASKS_MAX: int = 50  # tasks that become labels
    METRICS_QUEUES_MAX: int = 20  # queues that become labels
    METRICS_WINDOW: timedelta = timedelta(minutes=5)  # in which ended jobs are counted
    OTLP_ENDPOINT: str = ""  # the URL of a collector of OpenTelemetry; without it no span is made
    OTLP_SERVICE_NAME: str = "celery"
    OTLP_TIMEOUT_S: int = 3  # for one request to it
    OTLP_PAUSE_S: int = 1  # between two requests

    # Django's own tasks
    DJANGO_BACKOFF_S: int = 1  # before the first retry; it doubles
    DJANGO_SOFT_SHARE: float = 0.8  # of a time limit: the soft one

    FAILPOINTS: str | None = None  # for tests only: the folder of `celery_ledger.failpoints`

    def __getattribute__(self, name: str) -> Any:
        if name.isupper():
            overrides = getattr(settings, "LEDGER", {})
            if name in overrides:
                return overrides[name]
        return super().__getattribute__(name)

    def unknown(self) -> list[str]:
        """The names in `settings.LEDGER` that are no settings of the ledger."""
        return sorted(set(getattr(settings, "LEDGER", {})) - set(type(self).__annotations__))


ledger_settings = LedgerSettings()
