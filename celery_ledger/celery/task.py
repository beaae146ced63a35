"""The class of every task: `Guard`, which claims a job before the body runs, and `LedgerTask`, the
options of a task.

Beside Celery's own options (`max_retries`, `autoretry_for`, `retry_backoff`, `time_limit`, …) a
task may set:

`atomic` (default True): the body runs inside the transaction that settles the job, so its effects
and "done" are one commit. With `atomic=False` the body runs with no transaction open, may talk to
the outside world, and puts its effects into `with settle(): …`.

`threaded` (default False, with `atomic=False` only): the body waits for another server, has
timeouts of its own for that, and bears other threads beside it. Beside a pool of processes it runs
in a thread, so that no process of the pool waits with it. Around each call stands
`with outside(): …`, which lends the connection to Postgres to others.

`batched` (default True): while many jobs of an atomic task wait and are short, several bodies run
one after another in one transaction. Say False where a body sets something for its transaction
(`SET LOCAL`, an advisory lock).

`cancellable` (default False): whether the owner of the job may cancel it while it waits. Say True
where nothing is lost by that, e.g. since the job's `link_error` cleans up. An operator may cancel
any job.

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

from celery_ledger.celery.handing import handler_of_several
from celery_ledger.execution import answering, attempt
from celery_ledger.execution.current import enters_the_body, in_body_of, outside_any_attempt
from celery_ledger.execution.settling import replace_with
from celery_ledger.publishing.waking import handler_of_bells

KEYS = UUID("6b616974-656e-5000-8000-6b6579732e2e")  # the namespace of the ids of jobs with a key
# True inside `apply()`. A request's own `is_eager` may be forged by whoever writes to the broker.
_applied: ContextVar[bool] = ContextVar("ledger_applied", default=False)


class Guard:
    """The front of each registered task's class (`celery_ledger.celery.registry`): no bell and no
    call runs a body without a claim.
    """

    request: Any
    name: str
    guarded_class: type[Task]
    tracer: Any = None  # Celery's
    send_events = False  # Celery's main process sends none: `telemetry.events` does

    @property
    def __trace__(self) -> Any:
        """The function that Celery calls for a message of this task; None until Celery has set its
        own tracer, which is called when a job is claimed.
        """
        return self.tracer and self._claim_and_trace

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        self.tracer = tracer

    def start_strategy(self, app: Celery, consumer: Any, **options: Any) -> Any:
        """The consumer's handler of this task's bells."""
        hand_to_pool = super().start_strategy(app, consumer, **options)  # type: ignore[misc]
        hand_several = handler_of_several(self, hand_to_pool, consumer)
        return handler_of_bells(self, hand_several, consumer)

    def _claim_and_trace(self, uuid: str, args: Any, kwargs: Any, request: dict[str, Any]) -> Any:
        return answering.answer(self, self.tracer, {**request, "id": uuid, "task": self.name})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the attempt that was claimed for the current request. A direct call, as of a plain
        function, runs the body without any job.
        """
        if self.request.called_directly or _applied.get() or in_body_of(self.request):
            with outside_any_attempt():
                return super().__call__(*args, **kwargs)  # type: ignore[misc]  # the task's own
        return attempt.attempt(self, super().__call__)  # type: ignore[misc]


class LedgerTask(Task):  # type: ignore[misc]
    """The options of a task, and its calls that promise jobs. A task class of the project that is
    not based on this one gets it as its last base.
    """

    abstract = True
    atomic = True
    key: str | None = None
    cancellable = False
    threaded = False
    batched = True
    concurrency: str | int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the task has a `rate_limit` or a `concurrency`: each job is claimed alone."""
        return bool(self.rate_limit or self.concurrency)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body: with the attempt's request if it is the first call in an attempt; any other
        call is Celery's own, with a request of its own.
        """
        if enters_the_body():
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult:
        """Promise a job. With a `key` the job's id is derived from it, so a second call returns the
        first job.

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
        """Celery's own: run the body in this process at once. No job is promised."""
        remembered = _applied.set(True)
        try:
            return super().apply(*args, **options)
        finally:
            _applied.reset(remembered)

    def retry(
        self, args: Any = None, kwargs: Any = None, *rest: Any, throw: bool = True, **options: Any
    ) -> Any:
        """Celery's own. Raises NotImplementedError for `throw=False`: a retry has to end the
        attempt by an exception, so that its effects are rolled back.
        """
        if not throw:
            raise NotImplementedError(
                "retry(throw=False) would settle a job that is to be tried again."
            )
        return super().retry(args, kwargs, *rest, **options)

    def update_state(self, *args: Any, **options: Any) -> None:
        """Raise NotImplementedError: only the ledger changes the state of a job."""
        raise NotImplementedError(
            "The ledger's states are its own; write a task's progress into a row of your own."
        )

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """The same as `delay`: on the ledger no bell rings before the commit."""
        return self.delay(*args, **kwargs)

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """The same as `apply_async`."""
        return self.apply_async(*args, **kwargs)

    def on_replace(self, sig: Signature) -> Any:
        """Celery's hook in `replace()`. Promise the replacement in the transaction that ends this
        job, and raise Ignore.
        """
        if self.request.is_eager or self.request.called_directly:
            return super().on_replace(sig)
        replace_with(sig)
        raise Ignore("Replaced by a new job")

    def _key_of(self, args: Any, kwargs: Any) -> str:
        """The key of a call with these arguments. Raises ValueError if it names no argument."""
        bound = inspect.signature(self.run).bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return str(self.key).format(**bound.arguments)
        except (KeyError, IndexError) as exc:
            raise ValueError(
                f"The key of {self.name} names {exc}, which is no argument of it."
            ) from exc
