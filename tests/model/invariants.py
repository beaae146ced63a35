"""What is always true: of every world, and of every step from one world to the next.

The names are those of docs/invariants.md.
"""

from collections.abc import Callable

from tests.model.world import BODY, PARTS, Job, Rules, World

type Promise = Callable[[World, World, Rules], bool]  # the world before a step, the world after it

FINISHED = ("done", "dead")


def effects_at_most_once(_: World, world: World, rules: Rules) -> bool:
    """I2, first half: nothing is committed twice."""
    return all(job.effects <= 1 for job in world.ledger.jobs)


def effects_exactly_if_done(_: World, world: World, rules: Rules) -> bool:
    """I2, second half: nothing is committed without "done", nor the other way round."""
    return all((job.effects > 0) == (job.state == "done") for job in world.ledger.jobs)


def one_live_token(_: World, world: World, rules: Rules) -> bool:
    """I3, first half: one worker at most could settle a job."""
    return all(
        sum(
            worker.phase != "idle" and worker.job == number and worker.holds(job)
            for worker in world.workers
        )
        <= 1
        for number, job in enumerate(world.ledger.jobs)
    )


def running_means_token_and_lease(_: World, world: World, rules: Rules) -> bool:
    """I3, second half: the row's CHECK."""
    return all(
        (job.state == "running") == job.lease and (job.state != "running" or job.token is not None)
        for job in world.ledger.jobs
    )


def the_end_is_the_end(before: World, world: World, rules: Rules) -> bool:
    """I4: a done or dead row never changes, also not when Postgres crashes."""
    rows = zip(before.ledger.jobs, world.ledger.jobs, strict=True)
    return before.ledger is world.ledger or all(
        old.state not in FINISHED or new == old for old, new in rows
    )


def every_loss_counts(_: World, world: World, rules: Rules) -> bool:
    """I7: a claim ends in one of the ways that have a bound, and the last loss is the end."""
    return all(
        _adds_up(job) and (job.losses < rules.max_losses or job.state == "dead")
        for job in world.ledger.jobs
    )


def one_charge(_: World, world: World, rules: Rules) -> bool:
    """I8, first half: the provider takes the money once."""
    return len(world.charges) <= 1


def no_unknown_charge(_: World, world: World, rules: Rules) -> bool:
    """I8, second half: of a dead job's charge our row knows that it may exist, and a person is told
    to look.
    """
    job, operation = world.ledger.jobs[0], world.ledger.operation
    return job.state != "dead" or not world.charges or (operation != "intended" and job.link_error)


def body_after_all_parts(_: World, world: World, rules: Rules) -> bool:
    """A chord's body waits until each of its parts is done, runs at most once, and dies with a dead
    part.
    """
    if rules.kind != "chord":
        return True
    body = world.ledger.jobs[BODY]
    parts = {world.ledger.jobs[part].state for part in PARTS}
    if "dead" in parts:
        return body.state == "dead" and not body.attempts
    return body.effects <= 1 and (body.state == "blocked") == (parts != {"done"})


def _adds_up(job: Job) -> bool:
    ended = job.retries + job.losses + job.troubles
    open_or_final = {"running": (1,), "done": (1,), "dead": (0, 1)}.get(job.state, (0,))
    return job.attempts - ended in open_or_final


PROMISES: tuple[Promise, ...] = (
    effects_at_most_once,
    effects_exactly_if_done,
    one_live_token,
    running_means_token_and_lease,
    the_end_is_the_end,
    every_loss_counts,
    one_charge,
    no_unknown_charge,
    body_after_all_parts,
)
