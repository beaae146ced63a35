"""The statement that writes the rows of promised jobs. Every job goes through it, so it names only
the columns that a call decides and those that have no default in Postgres.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models.encoding import CeleryEncoder

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job

# A job that is due now is due by Postgres' clock, which the claim reads: ours may be ahead of it.
# The jobs of one statement are a microsecond apart, in their order.
PROMISE = """
INSERT INTO {jobs} (id, task, queue, args, envelope, owner, context, root_id, parent_id, priority,
                    created_at, due_at, ring_at, state, rings, attempts, retries, losses{of_limits})
VALUES {rows} {on_conflict}
"""
ROW = """(%s, %s, %s, %s::json, %s::json, %s, %s::jsonb, %s, %s, %s,
 statement_timestamp() + %s, greatest(%s, statement_timestamp() + %s),
 greatest(coalesce(%s, statement_timestamp() + %s), statement_timestamp()),
 'waiting', 0, 0, 0, 0{of_limits})"""


def statement_of(jobs: Sequence["Job"], *, table: str, once: bool) -> tuple[str, list[Any]]:
    """The statement that writes these jobs, and its values. `once`: ids that are taken are left
    out. The keys of limits are among its columns only if one of the jobs has a key.
    """
    have_keys = any(job.concurrency_key or job.rate_key for job in jobs)
    row = ROW.format(of_limits=", %s, %s" if have_keys else "")
    statement = PROMISE.format(
        jobs=table,
        rows=", ".join([row] * len(jobs)),
        on_conflict="ON CONFLICT DO NOTHING" if once else "",
        of_limits=", concurrency_key, rate_key" if have_keys else "",
    )
    values: list[Any] = []
    for place, job in enumerate(jobs):
        values += values_of(job, place)
        values += [job.concurrency_key, job.rate_key] if have_keys else []
    return statement, values


def values_of(job: "Job", place: int) -> tuple[Any, ...]:
    """The values of ROW for this job, which is the `place`-th of its statement, from 0."""
    later = None if isinstance(job.due_at, Now) else job.due_at
    after = timedelta(microseconds=place)
    return (
        job.id,
        job.task,
        job.queue,
        json.dumps(job.args, cls=CeleryEncoder),
        json.dumps(job.envelope, cls=CeleryEncoder),
        job.owner,
        json.dumps(job.context),
        job.root_id,
        job.parent_id,
        job.priority,
        after,
        later,
        after,
        later,
        _grace(job.queue),
    )


def _grace(queue: str) -> timedelta:
    """How long a bell of this queue may be on its way before the clock rings again."""
    is_bulk = queue == ledger_settings.BULK_QUEUE
    grace_s = ledger_settings.BULK_RING_GRACE_S if is_bulk else ledger_settings.RING_GRACE_S
    return timedelta(seconds=grace_s)
