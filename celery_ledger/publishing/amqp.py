"""Publishing: each message that Celery would send becomes a row in the caller's transaction.

`delay`, `apply_async`, `send_task`, canvases and `retry` all end in `send_task_message`, with the
finished message. The row keeps what the message would have carried; after the commit a bell rings.
"""

import celery_ledger.publishing.ready  # noqa: F401

# isort: split
import logging
from collections.abc import Callable, Sequence
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

# The headers of a message that the row's envelope keeps; others have columns of their own.
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
REPRESENTED = ("argsrepr", "kwargsrepr")  # the arguments as texts for logs and events
# Celery's headers and the ledger's; any other was added by the caller or by a listener
CELERY_HEADERS = {
    *KEPT_HEADERS,
    *("lang", "task", "id", "retries", "root_id", "parent_id", "group_id", "once"),
}
MAPS = ("celery.map", "celery.starmap")
TAKEN = "There is a job with the task_id {!r} already."


class LedgerAMQP(AMQP):  # type: ignore[misc]
    """Celery's `app.amqp`: it writes jobs into Postgres, and rings for them by the broker."""

    @cached_property
    def bell(self) -> Bell:
        """The bell of this process."""
        return Bell(self.app)

    @property
    def producer_pool(self) -> Any:
        """Celery's own pool; while a producer of it is held, as for a group, jobs are gathered."""
        return Producers(super().producer_pool)

    @property
    def create_task_message(self) -> Callable[..., Any]:
        """Celery's message of its second protocol, from which rows are made, also with the setting
        `task_protocol = 1`: no worker of Celery's reads it.
        """
        return self.as_task_v2  # type: ignore[no-any-return]

    @cached_property
    def default_exchange(self) -> Exchange:
        """The default exchange of AMQP, where every queue is bound to its own name: so a bell can
        be published before any worker has declared a binding.
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
        """Write the row of the job; in a block of `together`, at the end of the block.

        Raises CannotBeStored when the arguments are not JSON or too large, and ValueError for an
        option that cannot be kept, or for an id that is taken.

        A retry publishes its own id again. Then no row is written: the columns that it changes are
        kept for the verdict, which writes them when the attempt's effects are rolled back.
        """
        kept = {**message.headers, **(headers or {})}
        self._say_before(name, message, kept, options)
        positional, named, canvas = message.body
        args = storable(name, [list(positional), dict(named)])  # also those of a retry
        self._refuse_what_cannot_run(name, named, canvas)
        priority = options.get("priority") or 0
        refuse_nonsense(name, kept, priority)
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
        self._promise(job, kept, say_after)

    def _promise(self, job: Job, kept: dict[str, Any], say_after: Callable[[], Any]) -> None:
        """Write the row of this new job, now or at the end of the open block. Raises ValueError for
        an id of the caller's own that is taken.
        """
        if is_named(kept["id"]) and Job.objects.filter(pk=job.pk).exists():
            raise ValueError(TAKEN.format(kept["id"]))
        task = self.app.tasks.get(job.task)
        if task is not None and task.is_limited:
            job.concurrency_key, job.rate_key = keys_of(task, *job.args)
        promise = Promise(job, kept["id"], bool(kept.get("once")), say_after)
        if not waits_for_its_block(self._write, promise):
            self._write([promise])

    def _say_before(
        self, name: str, message: Any, kept: dict[str, Any], options: dict[str, Any]
    ) -> None:
        """Send Celery's signal `before_task_publish`. Its receivers may add headers to `kept`."""
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
        """Raise ValueError for a call, or a step of its canvas, that could not run; CannotBeStored
        for a step whose arguments a row cannot hold.
        """
        if name in MAPS:
            mapped = named["task"]["task"]
            if not getattr(self.app.tasks.get(mapped), "atomic", True):
                sentence = f"{mapped} is atomic=False, and {name} calls it inside a transaction."
                raise ValueError(sentence)
        for step in canvas["chain"] or ():
            if getattr(self.app.tasks.get(step["task"]), "key", None):
                raise ValueError(f"{step['task']} has a key, so it cannot be a step of a canvas.")
        if context.is_gathering():  # these steps were checked when their canvas was called
            return
        lists = [canvas[part] or () for part in ("chain", "callbacks", "errbacks")]
        steps = [*chain(*lists), *([canvas["chord"]] if canvas["chord"] else ())]
        for leaf in chain.from_iterable(map(leaves, steps)):
            storable(leaf["task"], [list(leaf["args"]), dict(leaf["kwargs"])])

    def _is_a_retry(self, kept: dict[str, Any]) -> bool:
        """Whether the job that runs here publishes its own id, and is not being replaced."""
        current = self.app.current_worker_task
        is_own = current is not None and current.request.id == kept["id"]
        return is_own and not being_replaced()

    def represent(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, str]:
        """The arguments as texts, for Celery's logs and events, by the names REPRESENTED."""
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
        """The headers to keep: not those that Celery makes for every call, unless the caller gave
        them in `options`.
        """
        own = {name: kept[name] for name in kept if name not in REPRESENTED or options.get(name)}
        if properties["reply_to"] != self.app.thread_oid:
            own["reply_to"] = properties["reply_to"]
        return own

    def _job(self, name: str, kept: dict[str, Any], args: list[Any], queue: Any) -> Job:
        """A row, not written yet, with what the message says but for its canvas."""
        replaced, parent = being_replaced(), kept["parent_id"]
        return Job(
            id=row_id(kept["id"]),
            task=name,
            queue=_name_of(queue) or self.app.conf.task_default_queue,
            args=args,
            owner=context.owner(),
            context=context.inherited(),
            root_id=kept["root_id"] and row_id(kept["root_id"]),
            parent_id=replaced.parent_id if replaced else parent and row_id(parent),
            due_at=_aware(kept["eta"]) or Now(),
        )

    def _write(self, promises: list[Promise]) -> None:
        """Write the rows in the caller's transaction; after its commit bells ring for those that
        are due now.
        """
        due = [promise.job for promise in promises if isinstance(promise.job.due_at, Now)]
        with _transaction_for(promises):
            for once, alike in groupby(promises, attrgetter("once")):
                self._insert([*alike], once=once)
            reach(At.AFTER_PROMISE)
            for job in due:
                self._ring_after_commit(job)
        for promise in promises:
            promise.say_after()

    def bring(self, keys: Sequence[str]) -> None:
        """Let the oldest job in line for a place of each of these keys be due now, and ring for it.

        Errors of Postgres and time limits are logged and not raised: a job in line looks for a
        place by itself after a while.
        """
        try:
            brought = Job.objects.bring(keys) if keys else []
            if brought:
                Peal(self.bell, [self.ring_for(job) for job in brought])()
        except (Error, SoftTimeLimitExceeded) as exc:
            log.warning("What stands in line for %s has to look by itself: %s", keys, exc)

    def _insert(self, promises: list[Promise], *, once: bool) -> None:
        """Write these rows. `once`: ids that are taken are left out; else they raise ValueError."""
        try:
            Job.objects.promise([promise.job for promise in promises], once=once)
        except IntegrityError as exc:
            ids = " or ".join(promise.id for promise in promises)
            raise ValueError(TAKEN.format(ids)) from exc

    def ring_for(self, job: Job) -> Ring:
        """The ring that tells a worker of this job."""
        headers, task = job.envelope["headers"], self.app.tasks.get(job.task)
        elsewhere = (
            task is not None
            and task.backend is not self.app.backend
            and not headers.get("ignore_result")
        )
        return Ring(
            str(job.pk),
            job.task,
            job.queue,
            headers.get("timelimit") or (None, None),
            shadow=headers.get("shadow"),
            threaded=getattr(task, "threaded", False),
            alone=job.shared_losses >= ledger_settings.SHARED_LOSSES,
            # a part of a chord locks its chord until the commit, and other parts wait for that
            batch=not job.attempts and not job.envelope["chord"],
            ignore_result=not elsewhere,
        )

    def _ring_after_commit(self, job: Job) -> None:
        """Add the job to the newest peal of this transaction, if that was begun in the same
        savepoints; else begin a new one. So a savepoint that is rolled back takes its own bells.
        """
        last = connection.run_on_commit[-1] if connection.run_on_commit else None
        if last and isinstance(last[1], Peal) and last[0] == set(connection.savepoint_ids):
            last[1].rings.append(self.ring_for(job))
        else:
            transaction.on_commit(Peal(self.bell, [self.ring_for(job)]), robust=True)


def _transaction_for(promises: list[Promise]) -> AbstractContextManager[Any]:
    """The transaction to write these in: the caller's, or a new one. A single row outside any needs
    none, since its statement is one by itself.
    """
    alone = len(promises) == 1 and connection.get_autocommit()
    return nullcontext() if alone else transaction.atomic(savepoint=False)


class Peal:
    """The bells of one transaction, rung together after its commit."""

    are_bells = True  # `execution.batch` tells these hooks from others by it

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
    celery_json.loads(celery_json.dumps(canvas))  # raises now for what no clock could read back
    own = _own_headers(kept)
    return {
        **canvas,
        "headers": {key: kept.get(key) for key in KEPT_HEADERS},
        **({"own_headers": own} if own else {}),
    }


def _own_headers(kept: dict[str, Any]) -> dict[str, Any]:
    """The headers that a caller or a listener has added. Raises CannotBeStored for more than
    HEADERS_MAX_BYTES.
    """
    own = {key: value for key, value in kept.items() if key not in CELERY_HEADERS}
    if own and len(text_of(own)) > ledger_settings.HEADERS_MAX_BYTES:
        raise CannotBeStored(
            f"The headers {', '.join(own)} are more than {ledger_settings.HEADERS_MAX_BYTES} bytes."
        )
    return own


def _other_queue(queue: Any) -> dict[str, str]:
    """The column `queue` if a retry names a queue; otherwise nothing, and it stays in its own."""
    name = _name_of(queue)
    return {"queue": name} if name else {}


def _name_of(queue: Any) -> Any:
    """The name of a queue that is given as kombu's object, as its name, or as None."""
    return getattr(queue, "name", queue)


def _aware(eta: str | None) -> datetime | None:
    """The moment of Celery's eta; a naive one is in the local time zone."""
    moment = parse_datetime(eta) if eta else None
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment
