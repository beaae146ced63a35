"""How a job happens once, in plain Python: what everybody may do next, whatever happened before.

A transition yields the worlds that may follow, each with what happened. Time is not counted: a
lease may run out at any moment, a worker may rest between any two steps. A frozen worker is one
that rests; one that wakes after its job was rescued is a ghost. Each guard of the protocol has a
switch, a `Bug`, that leaves it out.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from tests.model.world import (
    BODY,
    OPERATION_KEY,
    PARTS,
    Bug,
    Job,
    Ledger,
    Phase,
    Rules,
    Worker,
    World,
)

type Outcome = tuple[str, World]
type Step = tuple[str, str, World]  # who, what, and the world after it

# What a worker does: claim, call outside, settle; or give a verdict.


def claim(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """A bell is heard: one UPDATE takes the job if it waits, else nothing happens. The disk is not
    waited for.
    """
    for number, job in enumerate(world.ledger.jobs):
        if not world.bells[number]:
            continue
        after, what = world, f"hears a bell for {rules.names[number]} in vain"
        if job.state == "waiting" or (rules.bug is Bug.UNCHECKED_CLAIM and job.state != "blocked"):
            token = (
                job.attempts + 1
                if rules.bug is Bug.ATTEMPT_AS_TOKEN
                else _fresh_token(world, number)
            )
            taken = replace(
                job, state="running", token=token, lease=True, attempts=job.attempts + 1
            )
            after = replace(world, ledger=world.ledger.with_job(number, taken))
            after = after.with_worker(me, Worker("claimed", number, token))
            what = f"claims {rules.names[number]}: attempt {taken.attempts}, token {token}"
        if rules.bells_get_lost:
            yield what, after.with_bell(number, rings=False)
            what += "; the bell will be heard again"
        if after is not world:
            yield what, after


def note_sent(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """Before the first call the operation is committed as sent: from now on the provider may know
    it.
    """
    if rules.kind == "charge" and world.ledger.operation == "intended":
        if rules.bug is Bug.UNNOTED_CALL:
            yield "goes on without a note", world.now(me, "noted")
        else:
            yield (
                "notes the operation as sent",
                world.commit(replace(world.ledger, operation="sent")).now(me, "noted"),
            )


def ask_provider(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """An operation that was sent before is asked for before it is sent again."""
    if rules.kind == "charge" and world.ledger.operation != "intended":
        is_charged = _key(world, rules, me) in world.charges
        yield (
            f"asks the provider: {'charged' if is_charged else 'unknown'}",
            world.now(me, "answered" if is_charged else "noted"),
        )
        yield "asks the provider and gets no answer", world.now(me, "failed")


def call_provider(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """The outside call, no transaction open. The provider does a key once; request and answer may
    get lost.
    """
    charged = replace(world, charges=world.charges | {_key(world, rules, me)})
    yield "calls the provider: charged", charged.now(me, "answered")
    yield "calls the provider, the answer is lost", charged.now(me, "failed")
    yield "calls the provider, the request is lost", world.now(me, "failed")


def run_body(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """A task without an outside call: its body runs inside settle, or raises."""
    if rules.kind == "chord":
        yield from settle(world, rules, me)
        yield "raises", world.now(me, "failed")


def settle(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """Effects, follow-ups, a chord's counter and "done": one transaction, fenced by the token."""
    worker, job = world.attempt(me)
    if not worker.holds(job) and rules.bug is not Bug.NO_FENCE:
        yield "finds its lease lost and rolls back", world.now(me, "idle")
    elif rules.bug is Bug.SPLIT_EFFECTS and worker.phase != "half settled":
        effects = replace(job, effects=job.effects + 1)
        yield "commits the effects", world.commit_job(worker.job, effects).now(me, "half settled")
    elif rules.bug is Bug.PART_COUNTED_APART and _is_uncounted(rules, worker):
        yield (
            f"counts {rules.names[worker.job]}",
            world.commit(_counted(world.ledger)).now(me, "counted"),
        )
    else:
        settled = world.commit(_settled(world.ledger, rules, worker))
        reports = rules.bug is Bug.PART_COUNTED_TWICE and _is_uncounted(rules, worker)
        yield (
            f"settles {rules.names[worker.job]}",
            settled.now(me, "reporting" if reports else "idle"),
        )
        if job.troubles < rules.max_troubles:
            yield (
                f"settles {rules.names[worker.job]}, but never hears so",
                settled.now(me, "asking"),
            )
            yield "loses the connection at COMMIT, which rolls back", world.now(me, "asking")


def report_part(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """Celery tells the backend of each finished part once more. Only a bug listens: settle has
    counted it.
    """
    worker, _ = world.attempt(me)
    yield (
        f"counts {rules.names[worker.job]} again",
        world.commit(_counted(world.ledger)).now(me, "idle"),
    )


def ask_row(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """After a COMMIT with an unknown end the row is asked by token: it is never called failed."""
    worker, job = world.attempt(me)
    if worker.holds(job):
        again = _waiting(replace(job, troubles=job.troubles + 1))
        yield (
            "asks the row: not committed, waits again",
            world.commit_job(worker.job, again).now(me, "idle"),
        )
    else:
        done = job.token == worker.token and job.state == "done"
        yield f"asks the row: {'done' if done else 'not mine any more'}", world.now(me, "idle")


def verdict(world: World, rules: Rules, me: int) -> Iterator[Outcome]:
    """Waiting again, or dead and its link_error promised: a transaction of its own, fenced by the
    token.
    """
    worker, job = world.attempt(me)
    if not worker.holds(job) and rules.bug not in (Bug.NO_FENCE, Bug.UNFENCED_VERDICT):
        yield "finds its lease lost and gives no verdict", world.now(me, "idle")
    elif job.retries < rules.max_retries:
        again = _waiting(replace(job, retries=job.retries + 1))
        yield (
            f"gives {rules.names[worker.job]} a retry",
            world.commit_job(worker.job, again).now(me, "idle"),
        )
    else:
        killed = replace(job, state="dead", lease=False, link_error=True)
        yield (
            f"gives up {rules.names[worker.job]}: dead",
            world.commit(_buried(world.ledger, worker.job, killed)).now(me, "idle"),
        )


# What the clock does.


def ring(world: World, rules: Rules) -> Iterator[Outcome]:
    """A waiting job that nobody heard of rings again."""
    for number, job in enumerate(world.ledger.jobs):
        if job.state == "waiting" and not world.bells[number] and rules.bug is not Bug.RUNG_ONCE:
            yield f"rings {rules.names[number]}", world.with_bell(number, rings=True)


def rescue(world: World, rules: Rules) -> Iterator[Outcome]:
    """A running job past its lease, which may be any, waits again, one loss richer; too many, and
    it is dead.
    """
    if world.half_rescued is not None:
        forgotten = replace(world.ledger.jobs[world.half_rescued], token=None)
        yield (
            "clears the token",
            replace(world.commit_job(world.half_rescued, forgotten), half_rescued=None),
        )
        return
    for number, job in enumerate(world.ledger.jobs):
        if not job.lease or rules.bug is Bug.NO_RESCUE:
            continue
        lost = job if rules.bug is Bug.UNCOUNTED_LOSS else replace(job, losses=job.losses + 1)
        what = f"rescues {rules.names[number]}, loss {lost.losses}"
        if lost.losses >= rules.max_losses:
            dead = replace(
                lost, state="dead", lease=False, link_error=rules.bug is not Bug.SILENT_DEATH
            )
            yield f"{what}: dead", world.commit(_buried(world.ledger, number, dead))
        elif rules.bug is Bug.TWO_STEP_RESCUE:
            half = replace(lost, state="waiting", lease=False)
            yield (
                f"{what}: waits again",
                replace(world.commit_job(number, half), half_rescued=number),
            )
        else:
            yield f"{what}: waits again", world.commit_job(number, _waiting(lost))


# What goes wrong, and what merely passes.


def kill(world: World) -> Iterator[Outcome]:
    """SIGKILL between any two steps: what the worker knew is gone; another starts in its place."""
    for me, worker in enumerate(world.workers):
        if worker.phase != "idle":
            yield f"kills w{me + 1}", world.now(me, "idle")


def postgres(world: World) -> Iterator[Outcome]:
    """The WAL writer comes round; or Postgres crashes and forgets the claims no disk has seen."""
    if world.disk != world.ledger:
        yield "writes the claim to disk", replace(world, disk=world.ledger)
        yield "crashes and forgets the claim", replace(world, ledger=world.disk)


def lose_bell(world: World, rules: Rules) -> Iterator[Outcome]:
    """FLUSHALL, a full broker, a message for a worker that died."""
    for number, rings in enumerate(world.bells):
        if rings and rules.bells_get_lost:
            yield f"loses the bell of {rules.names[number]}", world.with_bell(number, rings=False)


def _fresh_token(world: World, number: int) -> int:
    """A random token: one that nobody knows. The least such number stands for all of them."""
    written = {world.ledger.jobs[number].token, world.disk.jobs[number].token} | world.charges
    remembered = {worker.token for worker in world.workers if worker.job == number}
    return next(token for token in count(1) if token not in written | remembered)


def _key(world: World, rules: Rules, me: int) -> int:
    return world.workers[me].token or 0 if rules.bug is Bug.KEY_PER_ATTEMPT else OPERATION_KEY


def _waiting(job: Job) -> Job:
    """The code leaves the old token in the row; as no fence takes a token without state =
    'running', it is none.
    """
    return replace(job, state="waiting", token=None, lease=False)


def _settled(ledger: Ledger, rules: Rules, worker: Worker) -> Ledger:
    job = ledger.jobs[worker.job]
    effects = job.effects if worker.phase == "half settled" else job.effects + 1
    after = ledger.with_job(worker.job, replace(job, state="done", lease=False, effects=effects))
    if rules.kind == "charge":
        return replace(after, operation="succeeded")
    return _counted(after) if _is_uncounted(rules, worker) else after


def _is_uncounted(rules: Rules, worker: Worker) -> bool:
    return rules.kind == "chord" and worker.job in PARTS and worker.phase != "counted"


def _counted(ledger: Ledger) -> Ledger:
    """One part less to wait for; with the last one the body is promised."""
    after = replace(ledger, parts_left=ledger.parts_left - 1)
    return after.with_job(BODY, Job("waiting")) if after.parts_left == 0 else after


def _buried(ledger: Ledger, number: int, dead: Job) -> Ledger:
    """A dead part takes the body with it, in the same transaction."""
    after = ledger.with_job(number, dead)
    failed_header = (
        len(ledger.jobs) > BODY and number in PARTS and ledger.jobs[BODY].state == "blocked"
    )
    return after.with_job(BODY, Job("dead", link_error=True)) if failed_header else after


LIFE_OF_AN_ATTEMPT: dict[Phase, tuple[Callable[[World, Rules, int], Iterator[Outcome]], ...]] = {
    "idle": (claim,),
    "claimed": (note_sent, ask_provider, run_body),
    "noted": (call_provider,),
    "answered": (settle,),
    "failed": (verdict,),
    "asking": (ask_row,),
    "half settled": (settle,),
    "counted": (settle,),
    "reporting": (report_part,),
}


def steps(world: World, rules: Rules) -> Iterator[Step]:
    """Everything that may happen next, and who does it."""
    for me, worker in enumerate(world.workers):
        for transition in LIFE_OF_AN_ATTEMPT[worker.phase]:
            for what, after in transition(world, rules, me):
                yield f"w{me + 1}", what, after
    for who, outcomes in (
        ("clock", ring(world, rules)),
        ("clock", rescue(world, rules)),
        ("kernel", kill(world)),
        ("postgres", postgres(world)),
        ("broker", lose_bell(world, rules)),
    ):
        for what, after in outcomes:
            yield who, what, after
