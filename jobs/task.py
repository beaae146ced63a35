"""The class of every task, and the one place for its options.

Beside Celery's own (`max_retries`, `autoretry_for`, `retry_backoff`, `time_limit`, …) a task may set

`atomic` (default True): the body runs inside the transaction that settles the job, so its effects and "done" are one
commit. With `atomic=False` the body runs with no transaction open, may talk to the outside world, and puts its
effects into `with settle(): …`.
"""

from typing import Any

from celery import Task

from jobs import execution


class LedgerTask(Task):  # type: ignore[misc]
    abstract = True
    atomic = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Work off the job whose bell rang. Called as a plain function, it is one."""
        if self.request.called_directly or execution.in_body_of(self.request):
            with execution.outside_any_attempt():
                return super().__call__(*args, **kwargs)
        return execution.attempt(self)
