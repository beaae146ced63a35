"""All that matters at one moment of the model, the rules that are played, and the bugs that may be
planted.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

type Phase = Literal[
    "idle",
    "claimed",
    "noted",
    "answered",
    "failed",
    "asking",
    "half settled",
    "counted",
    "reporting",
]
type JobState = Literal["blocked", "waiting", "running", "done", "dead"]

OPERATION_KEY = 0  # the provider's idempotency key belongs to the operation, not to the attempt
PARTS, BODY = (0, 1), 2  # the jobs of a chord


class Bug(Enum):
    """A guard left out."""

    NO_FENCE = "settle and verdict look at the id only"
    UNFENCED_VERDICT = "a verdict looks at the id only"
    TWO_STEP_RESCUE = "a rescue resets state and token in two transactions"
    ATTEMPT_AS_TOKEN = "the attempt number is the token"
    SPLIT_EFFECTS = "effects and done are two transactions"
    KEY_PER_ATTEMPT = "each attempt has its own provider key"
    UNCHECKED_CLAIM = "a claim takes a job in any state"
    PART_COUNTED_TWICE = "a chord part is counted when it settles and when Celery reports it"
    PART_COUNTED_APART = "a chord part is counted in a transaction of its own"
    UNNOTED_CALL = "the provider is called before the operation is noted as sent"
    SILENT_DEATH = "link_error of a poisonous job is not promised"
    UNCOUNTED_LOSS = "a rescue does not count the loss"
    RUNG_ONCE = "the clock never rings again"
    NO_RESCUE = "the clock never rescues"


@dataclass(frozen=True)
class Rules:
    """What is played, and how long: bounds that keep all states within seconds and let every guard
    matter.
    """

    kind: Literal["charge", "chord"]
    names: tuple[str, ...]  # of its jobs
    max_losses: int
    max_retries: int
    max_troubles: int  # COMMITs with an unknown end that a job may meet
    bells_get_lost: bool  # else every job's bell rings all the time
    bug: Bug | None = None


ONE_CHARGE = Rules(
    "charge",
    names=("the charge",),
    max_losses=3,
    max_retries=1,
    max_troubles=1,
    bells_get_lost=True,
)
ONE_CHORD = Rules(
    "chord",
    names=("part 1", "part 2", "the body"),
    max_losses=2,
    max_retries=0,
    max_troubles=0,
    bells_get_lost=False,
)


@dataclass(frozen=True)
class Job:
    """A row of promised work, and what its attempts have committed."""

    state: JobState = "waiting"
    token: int | None = None  # of the claim that runs it or ended it
    lease: bool = False
    attempts: int = 0
    retries: int = 0
    losses: int = 0
    troubles: int = 0
    effects: int = 0  # how often its effects and follow-ups are committed
    link_error: bool = False  # promised: the order goes on hold


@dataclass(frozen=True)
class Ledger:
    """What Postgres holds."""

    jobs: tuple[Job, ...]
    operation: Literal["intended", "sent", "succeeded"] = "intended"
    parts_left: int = len(PARTS)

    def with_job(self, number: int, job: Job) -> "Ledger":
        return replace(self, jobs=(*self.jobs[:number], job, *self.jobs[number + 1 :]))


@dataclass(frozen=True)
class Worker:
    """A worker, and the one attempt that it is making."""

    phase: Phase = "idle"
    job: int = 0
    token: int | None = None

    def holds(self, job: Job) -> bool:
        """The fence: WHERE id AND token AND state = 'running'."""
        return job.state == "running" and job.token == self.token


@dataclass(frozen=True)
class World:
    """Everything at one moment."""

    ledger: Ledger
    disk: Ledger  # what a Postgres crash would leave of the ledger
    bells: tuple[bool, ...]
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    charges: frozenset[int] = frozenset()  # the keys under which the provider has taken money
    half_rescued: int | None = None  # only ever set by Bug.TWO_STEP_RESCUE

    def with_bell(self, number: int, *, rings: bool) -> "World":
        return replace(self, bells=(*self.bells[:number], rings, *self.bells[number + 1 :]))

    def with_worker(self, me: int, worker: Worker) -> "World":
        return replace(
            self, workers=(worker, self.workers[1]) if me == 0 else (self.workers[0], worker)
        )

    def attempt(self, me: int) -> tuple[Worker, Job]:
        worker = self.workers[me]
        return worker, self.ledger.jobs[worker.job]

    def commit(self, ledger: Ledger) -> "World":
        """A commit that waits for the disk, and so for every commit before it."""
        return replace(self, ledger=ledger, disk=ledger)

    def commit_job(self, number: int, job: Job) -> "World":
        return self.commit(self.ledger.with_job(number, job))

    def now(self, me: int, phase: Phase) -> "World":
        """The same world with this worker at another point of its attempt."""
        mine = self.workers[me]
        return self.with_worker(
            me, Worker() if phase == "idle" else Worker(phase, mine.job, mine.token)
        )


def promise(rules: Rules) -> World:
    """The first moment: the jobs are committed and have rung. A chord's body is a row from the
    start.
    """
    jobs = (Job(),) if rules.kind == "charge" else (Job(), Job(), Job("blocked"))
    ledger = Ledger(jobs)
    return World(ledger, ledger, bells=(True,) * len(jobs))
