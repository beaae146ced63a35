"""Celery's result backend. It reads the rows of jobs and writes no results: the transaction that
settled a job has written them.
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
# The message of Celery's TaskRevokedError, by the `type` of the error in the cancelled job's row
REVOKED = {"Expired": "expired", "Revoked": "revoked"}


class LedgerBackend(BaseBackend):  # type: ignore[misc]
    """`AsyncResult`, `GroupResult` and chords from Postgres.

    The worker's main process also reports failures (time limits, lost processes, unknown tasks),
    and does so before the process that runs the job is known to be dead. Such a report changes no
    row (`mark_as_failure`): the clock rescues the job.
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
        """Yield Celery's id and the result meta of each job, in the order in which they finish.

        One query every `interval` seconds asks for all that have not finished. Raises TimeoutError
        when some have not after `timeout` seconds.
        """
        celery_ids = {row_id(task_id): task_id for task_id in task_ids}
        unfinished = set(celery_ids)
        deadline = timeout and time.monotonic() + timeout
        while unfinished:
            finished = list(Job.objects.filter(pk__in=unfinished, state__in=FINISHED))
            children = self._children(finished)
            unfinished -= {job.pk for job in finished}
            for job in finished:
                yield celery_ids[job.pk], self._meta(job, children[job.pk])
            if unfinished and deadline and time.monotonic() > deadline:
                raise self.TimeoutError(f"{len(unfinished)} jobs are not finished")
            if unfinished:
                time.sleep(interval)

    def wait_for(self, task_id: str, *args: Any, on_interval: Any = None, **options: Any) -> Any:
        """Celery's own, with one more call of `on_interval` at the end.

        In it `AsyncResult.get` raises the error of a parent. Celery calls it only while it waits,
        and a job that died with its parent may be found dead at the first look.
        """
        meta = super().wait_for(task_id, *args, on_interval=on_interval, **options)
        if on_interval:
            on_interval()
        return meta

    def _children(self, parents: list[Job]) -> dict[UUID, list[Any]]:
        """The children of each job by its id, as Celery's result tuples: one tuple for a single
        job, one for a group with its members.

        A job that is not done has none. The errbacks of a dead job are no children in Celery.
        """
        done = [job.pk for job in parents if job.state == State.DONE]
        children: dict[UUID, list[Any]] = {job.pk: [] for job in parents}
        groups: dict[tuple[Any, str | None], list[Any]] = {}
        for id_, parent, headers in self._rows_of_children(done):
            result = ((str(id_), (str(parent), None)), None)
            group = headers and headers.get("group")
            if group and (parent, group) in groups:
                groups[parent, group].append(result)
            elif group:
                members = groups[parent, group] = [result]
                children[parent].append(((group, (str(parent), None)), members))
            else:
                children[parent].append(result)
        return children

    def _rows_of_children(self, parents: list[UUID]) -> Iterable[tuple[UUID, Any, Any]]:
        """The id, the parent's id and the headers of each child, the oldest first."""
        if not parents:
            return ()
        children = Job.objects.filter(parent_id__in=parents).order_by("created_at", "pk")
        return children.values_list("pk", "parent_id", "envelope__headers")

    def _meta(self, job: Job, children: list[Any]) -> dict[str, Any]:
        state = CELERY_STATES[State(job.state)]
        if state == states.PENDING and job.retries:
            state = states.RETRY
        # a job that was retried and then went well still has the error of the earlier attempt
        error = job.error if state != states.SUCCESS else None
        return {
            "task_id": str(job.pk),
            "status": state,
            "result": self.outcome(job),
            "traceback": error and error.get("traceback"),
            "children": children,
            "date_done": job.finished_at,
        }

    def outcome(self, job: Job) -> Any:
        """The job's result; or the exception that it died of, or for which it is tried again."""
        error = job.error
        if job.state == State.CANCELLED and error:
            return TaskRevokedError(REVOKED.get(error["type"], error["message"]))
        is_tried_again = job.state == State.WAITING and job.retries
        if error and (is_tried_again or job.state == State.DEAD):
            return self.raised(error)
        return job.result

    def raised(self, error: dict[str, Any]) -> BaseException:
        """The exception that this error of a row describes, made again of its arguments.

        An exception whose class cannot be imported, or cannot be made of those arguments, comes as
        a stand-in that names it.
        """
        if error["type"] == "Lost":
            return cast("BaseException", WorkerLostError(error["message"]))
        try:
            args = celery_json.loads(json.dumps(error.get("args", [error["message"]])))
        except ValueError:  # e.g. a dictionary with Celery's own marks in it
            args = error["args"]
        name, module = error["type"], error.get("module", "builtins")
        message = {"exc_type": name, "exc_message": args, "exc_module": module}
        exc: BaseException = self.exception_to_python(message)
        if type(exc) is Exception and name != "Exception":  # it could not be made
            text = f"{name}({', '.join(map(repr, args))})"
            exc = UnpickleableExceptionWrapper(module, name, tuple(args), text)
        return exc

    # --- what hangs on a job that ends ------------------------------------------------------------

    def fail(self, request: Context, exc: BaseException) -> None:
        """Follow up on the death of this request's job: the rest of its chain and its chord are
        dead too, and its errbacks are promised.

        The caller calls it in the transaction that kills the job. An error that passes (Postgres in
        trouble, a time limit) is raised, so that all of it is tried again later. Any other error is
        logged, and the job is dead without its follow-up.
        """
        try:
            with transaction.atomic():
                super().mark_as_failure(request.id, exc, request=request)
        except Exception as worse:
            if is_passing(worse):
                raise
            log.exception("What hangs on job %s cannot be told", request.id)

    def call_off(self, request: Context, exc: Exception, *, call_errbacks: bool = False) -> None:
        """Follow up on the cancelling of this request's job: the rest of its chain and its chord
        are dead. Its errbacks are promised only if `call_errbacks`.
        """
        if request.chain or request.chord or (call_errbacks and request.errbacks):
            super().mark_as_failure(
                request.id, exc, request=request, call_errbacks=call_errbacks, state=states.REVOKED
            )

    def store_result(
        self, task_id: str, result: Any, state: str, request: Any = None, **_: Any
    ) -> None:
        """Record the failure of a job that will never be promised: a later step of a chain, the
        body of a chord. Celery calls it for nothing else here.

        Raises NotImplementedError for a state that is none of Celery's, as `update_state` may name.
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
        """Promise each `link_error` of this request as a job.

        An errback gets the dead job's id, or `(request, exc, traceback)` if it takes those. One
        that cannot be called is logged; the job is dead all the same, and its row says why.
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
            except (TypeError, ValueError, NotImplementedError):
                log.exception("link_error of job %s cannot be called", request.id)

    def _takes_the_failure(self, errback: Signature) -> bool:
        """Whether this errback takes `(request, exc, traceback)`: decided as in Celery, by the
        number of its arguments, if its task is registered here and is not bound.
        """
        header = getattr(self.app.tasks.get(errback.task), "__header__", None)
        if errback.immutable or header is None or isinstance(header, partial):
            return False
        return bool(self._errback_arity_greater(errback, 1))

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        group_id, results, *_rest = header_result_args
        Chord.objects.create(group=row_id(group_id), body=dict(body), nesting=_nesting(results))

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        with transaction.atomic():
            chord = Chord.objects.locked(row_id(group_id))
            if chord is not None:
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

    # --- what Celery reports and the row says already: nothing is written -------------------------

    def mark_as_done(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the row was settled before."""

    def mark_as_failure(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the row has its verdict, or the clock rescues the job."""

    def mark_as_retry(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the row waits already."""

    def mark_as_revoked(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the row is cancelled already, or the job goes on."""


def _nesting(results: Any) -> list[Any] | None:
    """The ids of the jobs of a chord's header, in lists as its groups are nested; None when no
    group is among them.

    None too for results that Celery makes while it publishes the header (a UserList): Celery does
    not nest those either.
    """
    if isinstance(results, UserList):
        return None
    has_a_group = any(isinstance(result, GroupResult) for result in results)
    return [_nested_ids(result) for result in results] if has_a_group else None


def _nested_ids(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [_nested_ids(member) for member in result.results]
    return str(row_id(result.id))
