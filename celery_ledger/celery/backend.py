"""Celery's result backend, read from the ledger. Nothing is stored through it: the settling
transaction did.
"""

import celery_ledger.publishing.ready  # noqa: F401

# isort: split
import json
import logging
import time
from collections import UserList
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, cast
from uuid import UUID

from celery import states
from celery.app.task import Context
from celery.backends.base import BaseBackend
from celery.canvas import Signature, maybe_signature
from celery.exceptions import TaskRevokedError, WorkerLostError
from celery.result import GroupResult, result_from_tuple
from celery.utils.serialization import UnpickleableExceptionWrapper
from django.db import transaction
from kombu.utils import json as celery_json

from celery_ledger.errors import is_passing
from celery_ledger.models import FINISHED, Job, State
from celery_ledger.models.chord import Chord, part_returned
from celery_ledger.models.error import describe
from celery_ledger.models.group import Group
from celery_ledger.models.ids import row_id
from celery_ledger.tasks import call_errback

log = logging.getLogger(__name__)

CELERY_STATES = {
    State.WAITING: states.PENDING,
    State.RUNNING: states.STARTED,
    State.DONE: states.SUCCESS,
    State.DEAD: states.FAILURE,
    State.CANCELLED: states.REVOKED,
}
# What Celery says of a job that is cancelled, by what the ledger calls it
REVOKED = {"Expired": "expired", "Revoked": "revoked"}


class LedgerBackend(BaseBackend):  # type: ignore[misc]
    """`AsyncResult`, `GroupResult` and chords from Postgres.

    Celery also reports failures from the worker's parent process, before the child is known to be
    dead (time limits, lost workers, unknown tasks). Those reports are not verdicts: the clock
    rescues such a job.
    """

    persistent = True
    supports_native_join = True

    # --- reading ----------------------------------------------------------------------------------

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        job = Job.objects.filter(pk=row_id(task_id)).first()
        if job is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        return self._meta(job, self._children([job])[job.pk])

    def get_many(
        self, task_ids: Iterable[str], timeout: float | None = None, interval: float = 0.5, **_: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the outcome of each job once it has one, asking for all the others in one query."""
        known_as = {row_id(task_id): task_id for task_id in task_ids}
        unfinished = set(known_as)
        deadline = timeout and time.monotonic() + timeout
        while unfinished:
            finished = list(Job.objects.filter(pk__in=unfinished, state__in=FINISHED))
            children = self._children(finished)
            unfinished -= {job.pk for job in finished}
            for job in finished:
                yield known_as[job.pk], self._meta(job, children[job.pk])
            if unfinished and deadline and time.monotonic() > deadline:
                raise self.TimeoutError(f"{len(unfinished)} jobs are not finished")
            if unfinished:
                time.sleep(interval)

    def wait_for(self, task_id: str, *args: Any, on_interval: Any = None, **options: Any) -> Any:
        """Celery's own. What a step before it died of is raised, however soon this one knows."""
        meta = super().wait_for(task_id, *args, on_interval=on_interval, **options)
        if on_interval:
            on_interval()
        return meta

    def _children(self, parents: list[Job]) -> dict[UUID, list[Any]]:
        """What each of these jobs has led to, once it is done, as Celery's result tuples: those of
        one group together. Of a dead one nothing is left; its errbacks are no children in Celery.
        """
        done = [job.pk for job in parents if job.state == State.DONE]
        children: dict[UUID, list[Any]] = {job.pk: [] for job in parents}
        groups: dict[tuple[Any, str | None], list[Any]] = {}
        for id_, parent, headers in self._led_to(done):
            known_by = ((str(id_), (str(parent), None)), None)
            group = headers and headers.get("group")
            if group and (parent, group) in groups:
                groups[parent, group].append(known_by)
            elif group:
                members = groups[parent, group] = [known_by]
                children[parent].append(((group, (str(parent), None)), members))
            else:
                children[parent].append(known_by)
        return children

    def _led_to(self, parents: list[UUID]) -> Iterable[tuple[UUID, Any, Any]]:
        if not parents:
            return ()
        children = Job.objects.filter(parent_id__in=parents).order_by("created_at", "pk")
        return children.values_list("pk", "parent_id", "envelope__headers")

    def _meta(self, job: Job, children: list[Any]) -> dict[str, Any]:
        state = CELERY_STATES[State(job.state)]
        if state == states.PENDING and job.retries:
            state = states.RETRY
        error = job.error if state != states.SUCCESS else None  # not of a retry that went well
        return {
            "task_id": str(job.pk),
            "status": state,
            "result": self.outcome(job),
            "traceback": error and error.get("traceback"),
            "children": children,
            "date_done": job.finished_at,
        }

    def outcome(self, job: Job) -> Any:
        """Its result, or the exception that it died of or is tried again for."""
        error = job.error
        if job.state == State.CANCELLED and error:
            return TaskRevokedError(REVOKED.get(error["type"], error["message"]))
        is_tried_again = job.state == State.WAITING and job.retries
        if error and (is_tried_again or job.state == State.DEAD):
            return self.raised(error)
        return job.result

    def raised(self, error: dict[str, Any]) -> BaseException:
        """The exception that a row keeps, made of what it was made of."""
        if error["type"] == "Lost":
            return cast("BaseException", WorkerLostError(error["message"]))
        try:
            args = celery_json.loads(json.dumps(error.get("args", [error["message"]])))
        except ValueError:  # e.g. a dictionary with Celery's own marks in it
            args = error["args"]
        name, module = error["type"], error.get("module", "builtins")
        message = {"exc_type": name, "exc_message": args, "exc_module": module}
        exc: BaseException = self.exception_to_python(message)
        if type(exc) is Exception and name != "Exception":  # it cannot be made of its arguments
            text = f"{name}({', '.join(map(repr, args))})"
            exc = UnpickleableExceptionWrapper(module, name, tuple(args), text)
        return exc

    # --- what hangs on a job that ends ------------------------------------------------------------

    def fail(self, request: Context, exc: BaseException) -> None:
        """The job of this request is dead: so is the rest of its chain and its chord, and its
        errbacks are promised.

        In the transaction that kills it. The job is dead also when something that hangs on it can
        never be told; what may be told later, because Postgres is in trouble or the time is over,
        raises.
        """
        try:
            with transaction.atomic():
                super().mark_as_failure(request.id, exc, request=request)
        except Exception as worse:
            if is_passing(worse):
                raise
            log.exception("What hangs on job %s cannot be told", request.id)

    def call_off(self, request: Context, exc: Exception, *, call_errbacks: bool = False) -> None:
        """The job of this request is cancelled: the rest of its chain and its chord are dead."""
        if request.chain or request.chord or (call_errbacks and request.errbacks):
            super().mark_as_failure(
                request.id, exc, request=request, call_errbacks=call_errbacks, state=states.REVOKED
            )

    def store_result(
        self, task_id: str, result: Any, state: str, request: Any = None, **_: Any
    ) -> None:
        """Celery stores the failure of jobs that will never be promised: the rest of a chain, a
        chord's body.
        """
        if state not in states.ALL_STATES:
            raise NotImplementedError(
                f"The ledger's states are its own, and {state} is none: "
                "write what a task should hear into a row of your own."
            )
        if state in states.PROPAGATE_STATES:
            task = getattr(request, "task", None) or "unknown"
            Job.objects.record_unreachable(row_id(task_id), task=task, error=describe(result))

    def fail_from_current_stack(self, task_id: str, exc: Any = None) -> None:
        self.store_result(task_id, exc, states.FAILURE)

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        """`link_error`, as jobs: with the dead job's id, or, if that is what it takes, `(request,
        exc, traceback)`.
        """
        family = {
            "parent_id": request.id,
            "root_id": getattr(request, "root_id", None) or request.id,
        }
        for errback in request.errbacks or ():
            try:
                with transaction.atomic():
                    call = maybe_signature(errback, app=self.app)
                    if self._takes_the_failure(call):
                        call_errback.apply_async((dict(errback), request.id), **family)
                    else:
                        call.apply_async((request.id,), **family)
            except (
                TypeError,
                ValueError,
                NotImplementedError,
            ):  # the job is dead all the same, and says why
                log.exception("link_error of job %s cannot be called", request.id)

    def _takes_the_failure(self, errback: Signature) -> bool:
        """As Celery decides it: by the number of arguments, where the task is known, not bound."""
        header = getattr(self.app.tasks.get(errback.task), "__header__", None)
        if errback.immutable or header is None or isinstance(header, partial):
            return False
        return bool(self._errback_arity_greater(errback, 1))

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        group_id, results, *_rest = header_result_args
        Chord.objects.create(group=row_id(group_id), body=dict(body), nesting=_nesting(results))

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        with transaction.atomic():
            if chord := Chord.objects.locked(row_id(group_id)):
                chord.expect(self.app, chord_size)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        part_returned(self.app, request, state, result)

    def _save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        Group.objects.save_members(row_id(group_id), result.as_tuple())
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        saved = Group.objects.filter(pk=row_id(group_id)).first()
        return {"result": result_from_tuple(saved.members, app=self.app)} if saved else None

    def _delete_group(self, group_id: str) -> None:
        Group.objects.filter(pk=row_id(group_id)).delete()

    def _forget(self, task_id: str) -> None:
        Job.objects.filter(pk=row_id(task_id), state__in=FINISHED).update(result=None)

    # --- what Celery reports, and the row already says --------------------------------------------

    def mark_as_done(self, *args: Any, **kwargs: Any) -> None:
        """The row is settled."""

    def mark_as_failure(self, *args: Any, **kwargs: Any) -> None:
        """The row has its verdict, or the clock gives it one."""

    def mark_as_retry(self, *args: Any, **kwargs: Any) -> None:
        """The row waits."""

    def mark_as_revoked(self, *args: Any, **kwargs: Any) -> None:
        """The row says what it is."""


def _nesting(results: Any) -> list[Any] | None:
    """The ids of a header's results as they are nested, if a group is among them. One that is made
    as it is published has none, as in Celery.
    """
    if isinstance(results, UserList) or not any(isinstance(one, GroupResult) for one in results):
        return None
    return [_nested_ids(one) for one in results]


def _nested_ids(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [_nested_ids(one) for one in result.results]
    return str(row_id(result.id))
