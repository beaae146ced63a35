"""Settles a job: commits the effects of an attempt, its follow-up jobs and "done" together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery import states
from celery.app.task import get_actual_ignore_result
from celery.canvas import Signature
from celery.exceptions import Ignore
from django.db import connection, transaction
from kombu.exceptions import EncodeError
from kombu.utils import json as celery_json

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import ConnectionClosed, LeaseLost, OneByOne
from celery_ledger.execution.current import Attempt, running_attempt
from celery_ledger.execution.follow_ups import promise_follow_ups
from celery_ledger.execution.lending import lend
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Job, Settled


@dataclass
class Settlement:
    """The result of the job that is being settled; it may be set until the block ends."""

    result: Any = None


@contextmanager
def settle(result: Any = None) -> Iterator[Settlement]:
    """Commit the effects of an `atomic=False` task together with "done".

    Everything in the block, the follow-up jobs and the job's end are one transaction. Raises
    LeaseLost, and rolls back, when the job was rescued meanwhile; RuntimeError for a second block
    in one attempt. Outside a job (a direct call) it is a plain transaction.
    """
    current, settlement = running_attempt(), Settlement(result)
    if current is None:
        with transaction.atomic():
            yield settlement
        return
    if current.settling:
        raise RuntimeError(
            "An attempt settles once: "
            "put all effects of an atomic=False task into one settle() block."
        )
    current.settling = True
    try:
        reach(At.AFTER_EXTERNAL)
        left_by: Ignore | None = None
        with current.transaction():
            try:
                with _on_one_connection():
                    yield settlement
            except Ignore as exc:
                if not current.replaced:
                    raise
                left_by = exc  # by replace(): this transaction commits the replacement
            if not current.replaced:
                _settle(current, settlement.result)
        lend()  # logging the end needs no connection
        if left_by:
            raise left_by
        if not current.replaced:
            reach(At.AFTER_COMMIT)
            current.settled = True
    finally:
        current.settling = current.settled


def replace_with(signature: Signature) -> None:
    """End the running job and promise its replacement, which gets its id, in the transaction of the
    effects (`Task.replace()`).

    Raises RuntimeError outside a job, LeaseLost when it was rescued, and OneByOne in a batch.
    """
    current = running_attempt()
    if current is None:
        raise RuntimeError("replace() works inside a job only.")
    if current.batch:
        current.batch.is_spoilt = True  # even if the body catches what is raised here
        raise OneByOne
    with transaction.atomic():
        if not Job.objects.delete_for_replacement(current.claim):
            raise LeaseLost
        current.replaced = True
        signature.delay()


@contextmanager
def _on_one_connection() -> Iterator[None]:
    """Raise ConnectionClosed if the block has closed the connection of its transaction."""
    try:
        yield
    except Exception as exc:
        if connection.closed_in_transaction:
            raise ConnectionClosed from exc
        raise
    if connection.closed_in_transaction:
        raise ConnectionClosed


def _settle(current: Attempt, result: Any) -> None:
    """Write the job's end and promise what follows it, in the open transaction of its effects."""
    current.result = result
    promise_follow_ups(current.task, result)
    task, envelope = current.task, current.claim.envelope
    is_wanted = envelope["chord"] or not get_actual_ignore_result(task, task.request)
    stored = _storable(task.backend.prepare_value(result)) if is_wanted else None
    current.settle(Settled(current.claim, stored, current.effects))
    if envelope["chord"]:
        task.app.backend.on_chord_part_return(task.request, states.SUCCESS, stored)
    _let_every_hook_run()
    reach(At.BEFORE_COMMIT)


def _let_every_hook_run() -> None:
    """Make each `on_commit` hook robust: if one raises, Django logs it, and neither the other hooks
    nor the job fail.
    """
    hooks: list[Any] = connection.run_on_commit
    hooks[:] = [(savepoints, hook, True) for savepoints, hook, _ in hooks]


def _storable(result: Any) -> Any:
    """The result, if a row can hold it. Raises EncodeError if it is not JSON, or would not come
    back as it was, and ValueError if it is over RESULT_MAX_BYTES.
    """
    try:
        text = celery_json.dumps(result, allow_nan=False)
        celery_json.loads(text)  # raises for what would not come back
    except (TypeError, ValueError) as exc:
        raise EncodeError(exc) from exc
    size = len(text.encode())
    if size > ledger_settings.RESULT_MAX_BYTES:
        raise ValueError(
            f"The result is {size} bytes; {ledger_settings.RESULT_MAX_BYTES} are allowed. "
            "Store it, return its id."
        )
    return result
