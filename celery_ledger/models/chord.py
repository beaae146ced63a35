"""A chord: parts that run side by side, and a body that runs once when all of them are done.

Each part reports in its own settling transaction, under the chord's lock, and at most once; so the
body is promised by the transaction of the last part, whatever dies before or after.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from celery import Celery, states
from celery.app.task import Context
from celery.canvas import Signature, maybe_signature
from celery.canvas import chord as chord_signature
from celery.exceptions import ChordError
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
    # parts that will report; known when the last one is published
    size = models.IntegerField(null=True)
    fired = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    objects = ChordQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(name="chord_age", fields=["created_at"])]

    def __str__(self) -> str:
        return str(self.pk)

    # --- verbs; the caller holds the lock ---------------------------------------------------------

    def expect(self, app: Celery, size: int) -> None:
        self.size = size
        self.save(update_fields=["size"])
        self._fire_if_complete(app)

    def take_part(self, app: Celery, *, job: UUID, index: int, result: Any) -> None:
        """A part is done. Raises IntegrityError when it has reported before."""
        self.parts.create(job=job, index=index, result=result)
        self._fire_if_complete(app)

    def fail(self, app: Celery, *, job: UUID, error: Any) -> None:
        """A part is dead: so are the body and what hangs on it, also a chord around it, with a
        ChordError.
        """
        self._close()
        failure = ChordError(f"Dependency {job} raised {error!r}")
        if isinstance(error, BaseException):
            failure = failure.with_traceback(error.__traceback__)
            failure.__cause__ = error
        self._kill_body(app, failure)

    def _kill_body(self, app: Celery, failure: Exception) -> None:
        body = maybe_signature(self.body, app=app)
        while isinstance(body, chord_signature):
            body = body.body
        members = getattr(body, "tasks", ())
        if body.id and not members:  # of which Celery would not tell the task
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
        except (
            ValueError,
            TypeError,
        ) as exc:  # e.g. together they are too large: no fault of the last part
            self._kill_body(app, ChordError(f"The body cannot be promised: {exc}"))

    def _results(self) -> list[Any]:
        """What the body gets: nested as the header is, else in the order of the parts."""
        parts = self.parts.order_by("index", "job").values_list("job", "result")
        by_job = {str(job): result for job, result in parts}
        if self.nesting is not None and by_job.keys() == set(_leaves(self.nesting)):
            return _arranged(self.nesting, by_job)
        return list(by_job.values())

    def _close(self) -> None:
        self.fired = True
        self.save(update_fields=["fired"])
        self.parts.all().delete()


class ChordPart(models.Model):
    """What one part came to, until the body is promised."""

    chord = models.ForeignKey(Chord, on_delete=models.CASCADE, related_name="parts")
    job = models.UUIDField()
    index = models.IntegerField()
    result = WrittenJSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="chord_part_once", fields=["chord", "job"])]

    def __str__(self) -> str:
        return f"{self.index} of {self.chord_id}"


def _leaves(nesting: list[Any]) -> Iterator[str]:
    for one in nesting:
        if isinstance(one, list):
            yield from _leaves(one)
        else:
            yield one


def _arranged(nesting: list[Any], by_job: dict[str, Any]) -> list[Any]:
    return [_arranged(one, by_job) if isinstance(one, list) else by_job[one] for one in nesting]


def part_returned(app: Celery, request: Any, state: str, result: Any) -> None:
    """The part `request` describes has ended, done or dead. In the transaction that ended it."""
    chord = Chord.objects.locked(row_id(request.group)) if request.group else None
    if chord is None:
        return
    if state in states.PROPAGATE_STATES:
        chord.fail(app, job=row_id(request.id), error=result)
    else:
        chord.take_part(app, job=row_id(request.id), index=request.group_index or 0, result=result)


def _request_of(step: Signature) -> Context:
    """What a part that will never be promised would have reported as."""
    return Context(
        id=step.id, group=step.options.get("group_id"), group_index=step.options.get("group_index")
    )
