"""A chord: parts that run side by side, and a body that runs once when all parts are done.

Each part is counted at most once, in the transaction that settles it and under the chord's lock. So
the transaction that settles the last part promises the body, whatever processes die meanwhile.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from celery import Celery, states
from celery.app.task import Context
from celery.canvas import Signature, maybe_signature
from celery.canvas import chord as chord_signature
from celery.exceptions import ChordError
from celery.utils.functional import maybe_list
from django.db import models, transaction
from django.db.models.functions import Now

from celery_ledger import context
from celery_ledger.models.encoding import WrittenJSONField
from celery_ledger.models.ids import row_id


class ChordQuerySet(models.QuerySet["Chord"]):
    def locked(self, group: UUID) -> "Chord | None":
        """The chord of this group if its body has not been promised yet; locked until the
        transaction ends.
        """
        return self.select_for_update(no_key=True).filter(pk=group, fired=False).first()


class Chord(models.Model):
    group = models.UUIDField(primary_key=True)
    body = WrittenJSONField()  # a Celery signature
    nesting = models.JSONField(null=True)  # ids of parts in lists in lists; null: a flat list
    # the number of parts; known when the last one has been published
    size = models.IntegerField(null=True)
    fired = models.BooleanField(default=False)  # its body is promised, or dead
    created_at = models.DateTimeField(db_default=Now())

    objects = ChordQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(name="chord_age", fields=["created_at"])]

    def __str__(self) -> str:
        return str(self.pk)

    # --- verbs; the caller holds the lock ---------------------------------------------------------

    def expect(self, app: Celery, size: int) -> None:
        """Note how many parts there are. Promises the body if all are done already."""
        self.size = size
        self.save(update_fields=["size"])
        self._fire_if_complete(app)

    def take_part(self, app: Celery, *, job: UUID, index: int, result: Any) -> None:
        """Count a part that is done; promise the body if it is the last. Raises IntegrityError for
        a part that was counted before.
        """
        self.parts.create(job=job, index=index, result=result)
        self._fire_if_complete(app)

    def fail(self, app: Celery, *, job: UUID, error: Any) -> None:
        """Close the chord since a part is dead: its body is dead by a ChordError, and so is what
        follows it, also a chord around it.
        """
        self._close()
        failure = ChordError(f"Dependency {job} raised {error!r}")
        if isinstance(error, BaseException):
            failure = failure.with_traceback(error.__traceback__)
            failure.__cause__ = error
        self._kill_body(app, failure)

    def _kill_body(self, app: Celery, failure: Exception) -> None:
        body = _innermost(maybe_signature(self.body, app=app))
        members = getattr(body, "tasks", ())
        if body.id and not members:  # Celery's own report would not name the task of a single body
            app.backend.store_result(body.id, failure, states.FAILURE, request=body)
        app.backend.chord_error_from_stack(body, failure)
        for step in (body, *members):
            if step.options.get("chord"):
                part_returned(app, _request_of(step), states.FAILURE, failure)

    def _fire_if_complete(self, app: Celery) -> None:
        if self.size is None or self.parts.count() < self.size:
            return
        results = self._results()
        self._close()
        try:
            with transaction.atomic(), context.gathering():
                maybe_signature(self.body, app=app).apply_async((results,))
        except (ValueError, TypeError) as exc:
            # e.g. the results are too large together, which is no fault of the last part
            self._kill_body(app, ChordError(f"The body cannot be promised: {exc}"))

    def _results(self) -> list[Any]:
        """The argument of the body: the results, nested as the header is or in its order."""
        parts = self.parts.order_by("index", "job").values_list("job", "result")
        by_job = {str(job): result for job, result in parts}
        if self.nesting is not None and by_job.keys() == set(_leaves(self.nesting)):
            return [_arranged(member, by_job) for member in self.nesting]
        return list(by_job.values())

    def _close(self) -> None:
        self.fired = True
        self.save(update_fields=["fired"])
        self.parts.all().delete()


def _innermost(body: Signature) -> Signature:
    """The body's body, if that is a chord, and so on; with the errbacks that those chords have as
    an option of their own, as Celery leaves them in `apply_async(link_error=…)`.
    """
    while isinstance(body, chord_signature):
        errbacks = maybe_list(body.options.get("link_error")) or ()
        body = body.body
        for errback in errbacks:
            body.append_to_list_option("link_error", errback)
    return body


class ChordPart(models.Model):
    """The result of a part that is done, kept until the body is promised."""

    chord = models.ForeignKey(Chord, on_delete=models.CASCADE, related_name="parts")
    job = models.UUIDField()
    index = models.IntegerField()
    result = WrittenJSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="chord_part_once", fields=["chord", "job"])]

    def __str__(self) -> str:
        return f"{self.index} of {self.chord_id}"


def _leaves(nesting: list[Any]) -> Iterator[str]:
    """The ids of jobs in these nested lists."""
    for member in nesting:
        if isinstance(member, list):
            yield from _leaves(member)
        else:
            yield member


def _arranged(member: Any, by_job: dict[str, Any]) -> Any:
    """The result of a job, for its id; for a list of ids, the list of their results."""
    if isinstance(member, list):
        return [_arranged(inner, by_job) for inner in member]
    return by_job[member]


def part_returned(app: Celery, request: Any, state: str, result: Any) -> None:
    """Count the part of a chord that this request describes, done or dead by Celery's `state`; in
    the transaction that ended it. Nothing happens if the request is no part, or the chord is
    closed.
    """
    chord = Chord.objects.locked(row_id(request.group)) if request.group else None
    if chord is None:
        return
    if state in states.PROPAGATE_STATES:
        chord.fail(app, job=row_id(request.id), error=result)
    else:
        chord.take_part(app, job=row_id(request.id), index=request.group_index or 0, result=result)


def _request_of(step: Signature) -> Context:
    """The request of a part that will never be promised, as `part_returned` needs it."""
    return Context(
        id=step.id, group=step.options.get("group_id"), group_index=step.options.get("group_index")
    )
