"""Publishing: everything that Celery would send becomes a row in the caller's transaction.

Every publish ends in `send_task_message`: `delay`, `apply_async`, `send_task`, canvas and `retry`.
Celery hands it the finished message; the row keeps what the message would have carried, and after
the commit the bell rings.
"""

import celery_ledger.publishing.ready  # noqa: F401

# isort: split
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from celery import signals
from celery.app.amqp import AMQP
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.saferepr import saferepr
from django.db import Error, IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from kombu import Exchange, Producer
from kombu.utils import json as celery_json

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.errors import CannotBeStored
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Job
from celery_ledger.models.ids import is_named, row_id
from celery_ledger.publishing.bell import Bell, Ring
from celery_ledger.publishing.limits import keys_of
from celery_ledger.publishing.own_id import being_replaced, retry_as
from celery_ledger.publishing.refusals import leaves, refuse_nonsense, storable, text_of
from celery_ledger.publishing.together import Producers, Promise, waits_for_its_block
from celery_ledger.publishing.waking import WAKE, say

log = logging.getLogger(__name__)

# What the row keeps of the message headers, besides its own columns. `stamps` and friends are
# Celery's.
KEPT_HEADERS = (
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "timelimit",
    "ignore_result",
    "origin",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
)
REPRESENTED = ("argsrepr", "kwargsrepr")
CELERY_HEADERS = {
    *KEPT_HEADERS,
    *("lang", "task", "id", "retries", "root_id", "parent_id", "group_id", "once"),
}
MAPS = ("celery.map", "celery.starmap")
TAKEN = "There is a job with the task_id {!r} already."


class LedgerAMQP(AMQP):  # type: ignore[misc]
    """Celery's `app.amqp`, with Postgres in the place of the broker and the broker in the place of
    a bell.
    """

    @cached_property
    def bell(self) -> Bell:
        return Bell(self.app)

    @property
    def producer_pool(self) -> Any:
        """Celery's own, from which it takes a producer for each call, or for all of a group."""
        return Producers(super().producer_pool)

    @cached_property
    def default_exchange(self) -> Exchange:
        """AMQP's own: every queue is bound to its name there, so nothing has to be written before a
        worker listens.
        """
        return Exchange("")

    def send_task_message(
        self,
        producer: Producer,
        name: str,
        message: Any,
        queue: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> None:
        """Write the job. Raises CannotBeStored when its arguments are not JSON or too large, and
        ValueError for an option that cannot be kept.

        A retry publishes its own id again; that is the verdict's business (`execution.verdict`),
        which writes it, as it is here, after the attempt's effects are rolled back.
        """
        kept = {**message.headers, **(headers or {})}
        self._say_before(name, message, kept, options)
        positional, named, canvas = message.body
        args = storable(name, [list(positional), dict(named)])  # also those of a retry
        self._refuse_what_cannot_run(name, named, canvas)
        refuse_nonsense(name, kept, priority := options.get("priority") or 0)
        job = self._job(name, kept, args, queue)
        job.priority = priority
        job.envelope = _envelope(self._headers(kept, message.properties, options), canvas)
        published = {"sender": name, "body": message.body, "headers": kept}
        say_after = partial(
            signals.after_task_publish.send, exchange="", routing_key=job.queue, **published
        )
        if self._is_a_retry(kept):
            retry_as(say_after, args=args, envelope=job.envelope, **_other_queue(queue))
            return
        if is_named(kept["id"]) and Job.objects.filter(pk=job.pk).exists():
            raise ValueError(TAKEN.format(kept["id"]))
        if (task := self.app.tasks.get(name)) is not None and task.is_limited:
            job.concurrency_key, job.rate_key = keys_of(task, *args)
        promise = Promise(job, kept["id"], bool(kept.get("once")), say_after)
        if not waits_for_its_block(self._write, promise):
            self._write([promise])

    def _say_before(
        self, name: str, message: Any, kept: dict[str, Any], options: dict[str, Any]
    ) -> None:
        """Celery's signal. Whoever listens may add headers."""
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(
                sender=name,
                body=message.body,
                headers=kept,
                properties=message.properties,
                exchange=options.get("exchange") or "",
                routing_key=options.get("routing_key") or "",
                declare=[],
                retry_policy=options.get("retry_policy"),
            )

    def _refuse_what_cannot_run(
        self, name: str, named: dict[str, Any], canvas: dict[str, Any]
    ) -> None:
        if name in MAPS:
            mapped = named["task"]["task"]
            if not getattr(self.app.tasks.get(mapped), "atomic", True):
                sentence = f"{mapped} is atomic=False, and {name} calls it inside a transaction."
                raise ValueError(sentence)
        for step in canvas["chain"] or ():
            if getattr(self.app.tasks.get(step["task"]), "key", None):
                raise ValueError(f"{step['task']} has a key, so it cannot be a step of a canvas.")
        if not context.is_gathering():  # these steps have been looked at where they were called
            lists = [canvas[part] or () for part in ("chain", "callbacks", "errbacks")]
            for step in (*chain(*lists), *([canvas["chord"]] if canvas["chord"] else ())):
                for leaf in leaves(step):
                    storable(leaf["task"], [list(leaf["args"]), dict(leaf["kwargs"])])

    def _is_a_retry(self, kept: dict[str, Any]) -> bool:
        """Whether the job that runs here publishes its own id, and is not being replaced."""
        current = self.app.current_worker_task
        is_own = current is not None and current.request.id == kept["id"]
        return is_own and not being_replaced()

    def represent(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, str]:
        """The arguments as Celery shows them in logs and events."""
        levels = self.app.conf.task_repr_maxlevels
        sizes = (self.argsrepr_maxsize, self.kwargsrepr_maxsize)
        texts = (
            saferepr(value, size, maxlevels=levels)
            for value, size in zip((tuple(args), kwargs), sizes, strict=True)
        )
        return dict(zip(REPRESENTED, texts, strict=True))

    def _headers(
        self, kept: dict[str, Any], properties: dict[str, Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        """The headers without those that Celery gives every call, unless the caller gave them."""
        own = {name: kept[name] for name in kept if name not in REPRESENTED or options.get(name)}
        if properties["reply_to"] != self.app.thread_oid:
            own["reply_to"] = properties["reply_to"]
        return own

    def _job(self, name: str, kept: dict[str, Any], args: list[Any], queue: Any) -> Job:
        """The row that says what the message would have."""
        replaced = being_replaced()
        current, parent = context.current(), kept["parent_id"]
        in_queue = getattr(queue, "name", queue) or self.app.conf.task_default_queue
        return Job(
            id=row_id(kept["id"]),
            task=name,
            queue=in_queue,
            args=args,
            owner=current.get(ledger_settings.OWNER, ""),
            context={key: value for key, value in current.items() if key != "job"},
            root_id=kept["root_id"] and row_id(kept["root_id"]),
            parent_id=replaced.parent_id if replaced else parent and row_id(parent),
            due_at=_aware(kept["eta"]) or Now(),
        )

    def _write(self, promises: list[Promise]) -> None:
        """The rows, in the caller's transaction; after its commit those ring that are due."""
        due = [promise.job for promise in promises if isinstance(promise.job.due_at, Now)]
        with _transaction_for(promises):
            for once, some in groupby(promises, attrgetter("once")):
                self._insert([*some], once=once)
            reach(At.AFTER_PROMISE)
            for job in due:
                self._ring_after_commit(job)
        for promise in promises:
            promise.say_after()

    def bring(self, keys: Sequence[str]) -> None:
        """Places of these keys may be free: the oldest that stands in line for each is due now, and
        is rung for.

        Never raises for Postgres in trouble, or for a time limit: whoever stands in line looks by
        itself.
        """
        try:
            if keys and (brought := Job.objects.bring(keys)):
                Peal(self.bell, [self.ring_for(job) for job in brought])()
        except (Error, SoftTimeLimitExceeded) as exc:
            log.warning("What stands in line for %s has to look by itself: %s", keys, exc)

    def _insert(self, promises: list[Promise], *, once: bool) -> None:
        try:
            Job.objects.promise([one.job for one in promises], once=once)
        except IntegrityError as exc:
            raise ValueError(TAKEN.format(" or ".join(one.id for one in promises))) from exc

    def ring_for(self, job: Job) -> Ring:
        headers, task = job.envelope["headers"], self.app.tasks.get(job.task)
        elsewhere = (
            task is not None
            and task.backend is not self.app.backend
            and not headers.get("ignore_result")
        )
        timelimit = headers.get("timelimit") or (None, None)
        return Ring(
            str(job.pk),
            job.task,
            job.queue,
            timelimit,
            shadow=headers.get("shadow"),
            threaded=getattr(task, "threaded", False),
            alone=job.shared_losses >= ledger_settings.SHARED_LOSSES,
            # a part of a chord locks what all its parts count on, until its commit
            batch=not job.attempts and not job.envelope["chord"],
            ignore_result=not elsewhere,
        )

    def _ring_after_commit(self, job: Job) -> None:
        """Ring with the other jobs of this transaction, or, if a savepoint is rolled back, with
        those outside it.
        """
        last = connection.run_on_commit[-1] if connection.run_on_commit else None
        if last and isinstance(last[1], Peal) and last[0] == set(connection.savepoint_ids):
            last[1].rings.append(self.ring_for(job))
        else:
            transaction.on_commit(Peal(self.bell, [self.ring_for(job)]), robust=True)


def _transaction_for(promises: list[Promise]) -> AbstractContextManager[Any]:
    """The caller's, or one of their own; one row is a transaction by itself."""
    alone = len(promises) == 1 and connection.get_autocommit()
    return nullcontext() if alone else transaction.atomic(savepoint=False)


class Peal:
    """The bells of one transaction, rung together after its commit."""

    are_bells = True

    def __init__(self, bell: Bell, rings: list[Ring]) -> None:
        self.bell = bell
        self.rings = rings

    def __call__(self) -> None:
        reach(At.BEFORE_RING)
        if any(ring.threaded for ring in self.rings):
            say(WAKE)
        self.bell.ring(self.rings)
        reach(At.AFTER_RING)


def _envelope(kept: dict[str, Any], canvas: dict[str, Any]) -> dict[str, Any]:
    """The canvas and the headers, as a row keeps them."""
    celery_json.loads(celery_json.dumps(canvas))  # a clock reads it too, and must not stumble
    return {
        **canvas,
        "headers": {key: kept.get(key) for key in KEPT_HEADERS},
        **({"own_headers": own} if (own := _own_headers(kept)) else {}),
    }


def _own_headers(kept: dict[str, Any]) -> dict[str, Any]:
    """The headers that a caller or a listener has added to Celery's."""
    own = {key: value for key, value in kept.items() if key not in CELERY_HEADERS}
    if own and len(text_of(own)) > ledger_settings.HEADERS_MAX_BYTES:
        raise CannotBeStored(
            f"The headers {', '.join(own)} are more than {ledger_settings.HEADERS_MAX_BYTES} bytes."
        )
    return own


def _other_queue(queue: Any) -> dict[str, str]:
    """The queue that a retry names; without one it stays in its own."""
    name = getattr(queue, "name", queue)
    return {"queue": name} if name else {}


def _aware(eta: str | None) -> datetime | None:
    """Celery's eta; a naive one is in Celery's own time zone."""
    moment = parse_datetime(eta) if eta else None
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment
