"""What every task has: its options, and the guard in front of its body.

Beside Celery's own (`max_retries`, `autoretry_for`, `retry_backoff`, `time_limit`, …) a task may
set

`atomic` (default True): the body runs inside the transaction that settles the job, so its effects
and "done" are one commit. With `atomic=False` the body runs with no transaction open, may talk to
the outside world, and puts its effects into `with settle(): …`.

`threaded` (default False, with `atomic=False` only): the body waits for somebody else's server, has
timeouts of its own for that, and bears other threads beside it. Beside a pool of processes it runs
in a thread, so that no process of the pool waits with it. Around each call stands
`with outside(): …`, which lends the connection to Postgres to others.

`batched` (default True): while many jobs of an atomic task wait and are short, several bodies run
one after another in one transaction. Say False where a body sets something for its transaction
(`SET LOCAL`, an advisory lock).

`cancellable` (default False): whether the owner of the job may cancel it while it waits. Say so
where nothing is lost by it: where the job's `link_error` sees to what it leaves. An operator may
cancel any.

`concurrency`: how many of its jobs run at once, over all workers; of the task as a whole (`2`), or
of each key (`"endpoint:{endpoint_id}=2"`, with the names of the task's arguments), which several
tasks may share. `rate_limit` may be of a key in the same way: `"endpoint:{endpoint_id}=10/m"`.

`key`: what makes a job the same job, e.g. `key="order:{order_id}:charge"` with the names of the
task's arguments. A second call returns the first job, as long as the ledger remembers it (KEEP
after its end).
"""

import celery_ledger.publishing.ready  # noqa: F401

# isort: split
import inspect
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid5

from celery import Celery, Task
from celery.canvas import Signature
from celery.exceptions import Ignore
from celery.result import AsyncResult, EagerResult

from celery_ledger.celery.handing import several
from celery_ledger.execution import answering, attempt
from celery_ledger.execution.current import enters_the_body, in_body_of, outside_any_attempt
from celery_ledger.execution.settling import replace_with
from celery_ledger.publishing.waking import by_bell

KEYS = UUID("6b616974-656e-5000-8000-6b6579732e2e")  # the namespace of the ids of jobs with a key
# no bell can say so, whoever forged it
_applied: ContextVar[bool] = ContextVar("ledger_applied", default=False)


class Guard:
    """Stands before the class of each task (`celery_ledger.celery.registry`), whatever that is."""

    request: Any
    name: str
    guarded_class: type[Task]
    tracer: Any = None
    send_events = False  # by the worker's main process: `telemetry.events` tells more

    @property
    def __trace__(self) -> Any:
        """Celery's tracer of this task, behind the claim."""
        return self.tracer and self._claim_and_trace

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        self.tracer = tracer

    def start_strategy(self, app: Celery, consumer: Any, **options: Any) -> Any:
        """What a worker does when a bell rings for this task."""
        by_pool = super().start_strategy(app, consumer, **options)  # type: ignore[misc]
        return by_bell(self, several(self, by_pool, consumer), consumer)

    def _claim_and_trace(self, uuid: str, args: Any, kwargs: Any, request: dict[str, Any]) -> Any:
        return answering.answer(self, self.tracer, {**request, "id": uuid, "task": self.name})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the attempt that has been claimed. Called as a plain function, it is one."""
        if self.request.called_directly or _applied.get() or in_body_of(self.request):
            with outside_any_attempt():
                return super().__call__(*args, **kwargs)  # type: ignore[misc]  # the task's own
        return attempt.attempt(self, super().__call__)  # type: ignore[misc]


class LedgerTask(Task):  # type: ignore[misc]
    """The options and calls of a task. A class of Celery's own `Task` gets them behind its own."""

    abstract = True
    atomic = True
    key: str | None = None
    cancellable = False
    threaded = False
    batched = True
    concurrency: str | int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether its jobs begin within limits, and so each by itself."""
        return bool(self.rate_limit or self.concurrency)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's own; the first call in an attempt is the body, with the attempt's request."""
        if enters_the_body():
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult:
        """Promise a job. With a `key`, the job's id is derived from it, so there is one.

        Raises ValueError for a key that does not fit the arguments, and for a keyed task inside a
        canvas, whose steps need ids of their own.
        """
        if self.key is None:
            return super().apply_async(args, kwargs, task_id=task_id, **options)
        own_id = str(uuid5(KEYS, f"{self.name} {self._key_of(args or (), kwargs or {})}"))
        if task_id not in (None, own_id) and not in_body_of(self.request):
            raise ValueError(f"{self.name} has a key, so it cannot be a step of a canvas.")
        headers = {**(options.pop("headers", None) or {}), "once": True}
        return super().apply_async(
            args, kwargs, task_id=task_id or own_id, headers=headers, **options
        )

    def apply(self, *args: Any, **options: Any) -> EagerResult:
        """Celery's own: the body runs here and now, as a function does, and no job is promised."""
        remembered = _applied.set(True)
        try:
            return super().apply(*args, **options)
        finally:
            _applied.reset(remembered)

    def retry(
        self, args: Any = None, kwargs: Any = None, *rest: Any, throw: bool = True, **options: Any
    ) -> Any:
        """Celery's own. It has to be raised: what is retried is the attempt, whose effects are
        rolled back.
        """
        if not throw:
            raise NotImplementedError(
                "retry(throw=False) would settle a job that is to be tried again."
            )
        return super().retry(args, kwargs, *rest, **options)

    def update_state(self, *args: Any, **options: Any) -> None:
        raise NotImplementedError(
            "The ledger's states are its own; write a task's progress into a row of your own."
        )

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """The same as `delay`: on the ledger nothing is rung before the commit."""
        return self.delay(*args, **kwargs)

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """The same as `apply_async`."""
        return self.apply_async(*args, **kwargs)

    def on_replace(self, sig: Signature) -> Any:
        """Celery's hook for `replace()`; its own would publish outside the ledger's transaction."""
        if self.request.is_eager or self.request.called_directly:
            return super().on_replace(sig)
        replace_with(sig)
        raise Ignore("Replaced by a new job")

    def _key_of(self, args: Any, kwargs: Any) -> str:
        bound = inspect.signature(self.run).bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return str(self.key).format(**bound.arguments)
        except (KeyError, IndexError) as exc:
            raise ValueError(
                f"The key of {self.name} names {exc}, which is no argument of it."
            ) from exc
