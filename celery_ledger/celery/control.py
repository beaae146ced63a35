"""Celery's remote control, of which the ledger needs one thing: to take back what nobody began."""

import celery_ledger.celery.ready  # noqa: F401

# isort: split
import logging
from typing import Any

from celery.app.control import Control
from celery.utils.functional import maybe_list
from click import ClickException

from celery_ledger.execution import verdict
from celery_ledger.ids import row_id
from celery_ledger.models import Job

log = logging.getLogger(__name__)


class LedgerControl(Control):  # type: ignore[misc]
    def broadcast(self, command: str, *args: Any, **options: Any) -> None:
        """`inspect`, `control`, `status`: nobody listens, since whoever reaches the broker would
        command the workers. A worker that starts says hello, and hears nobody.
        """
        if command == "hello":
            return
        raise ClickException(
            f"No worker takes {command!r} by way of the broker. "
            "See `manage.py jobs stats`, `jobs list`, `jobs why` and `doctor`; "
            "`jobs retry` and `jobs cancel` act on jobs."
        )

    def revoke(self, task_id: Any, *args: Any, **options: Any) -> None:
        """`AsyncResult.revoke()`: waiting jobs are cancelled. What runs goes on; `terminate` has no
        effect.
        """
        if options.get("terminate"):
            log.warning("A revoked job that runs already goes on: the ledger knows no terminate.")
        ids = [row_id(one) for one in maybe_list(task_id)]
        error = {"type": "Revoked", "message": "revoked before it began"}
        verdict.cancel(self.app, Job.objects.filter(pk__in=ids), error=error)
