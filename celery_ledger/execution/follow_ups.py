"""Promises what follows a job that is done, its callbacks and the rest of its chain, in the
transaction that settles it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from celery import Task
from celery.canvas import Signature, group, maybe_signature

from celery_ledger import context
from celery_ledger.models import Job
from celery_ledger.models.chord import Chord
from celery_ledger.models.ids import row_id


def promise_follow_ups(task: Task, result: Any) -> None:
    """Promise the callbacks of the current request and the next step of its chain, each with the
    result. Raises what a call raises, e.g. ValueError for arguments that are too large.

    A chord that was promised before is left out: behind a chord whose body is a group, each member
    of the group has the same rest of the chain, and the first member promises it.
    """
    request = task.request
    family = {"parent_id": request.id, "root_id": request.root_id}
    with context.gathering():
        for call in _calls(task, request.callbacks or ()):
            call.apply_async((result,), **family)
        if request.chain:
            *rest, following = request.chain
            step = maybe_signature(following, app=task.app)
            if not _is_a_promised_chord(step):
                _rename_if_taken(step)
                step.apply_async((result,), chain=rest, **family)


def _calls(task: Task, callbacks: Sequence[Any]) -> list[Signature]:
    """The callbacks to apply; several that are no groups become one group, as in Celery."""
    calls = [maybe_signature(callback, app=task.app) for callback in callbacks]
    calls = [call for call in calls if not _is_a_promised_chord(call)]
    single = [call for call in calls if not isinstance(call, group)]
    if len(callbacks) < 2 or not single:
        return calls
    groups = [call for call in calls if call not in single]
    return [*groups, group(single, app=task.app)]


def _rename_if_taken(step: Signature) -> None:
    """Give the step a new id if a job has its id: a chain that is applied twice keeps the id of its
    last step, in Celery.
    """
    taken = step.options.get("task_id")
    if taken and Job.objects.filter(pk=row_id(taken)).exists():
        step.set(task_id=str(uuid4()))


def _is_a_promised_chord(step: Signature) -> bool:
    """Whether the step is a chord that has a row. Its id is that of its header: in the options of
    the header if that is a group, else in the chord's own.
    """
    if step.task != "celery.chord":
        return False
    header = step.kwargs["header"]
    options = step.options if isinstance(header, list) else header["options"]
    group_id = options.get("task_id")
    return bool(group_id) and Chord.objects.filter(pk=row_id(group_id)).exists()
