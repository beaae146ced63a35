"""Celery's remote control, of which the ledger needs one thing: to take back what nobody began."""

import celery_ledger.publishing.ready  # noqa: F401

# isort: split
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from celery.app.control import Control
from celery.utils.functional import maybe_list
from click import ClickException
from kombu.exceptions import OperationalError

from celery_ledger.execution import verdict
from celery_ledger.models import Job, State
from celery_ledger.models.ids import row_id

log = logging.getLogger(__name__)


class NobodyListens(ClickException, OperationalError):
    """For Celery's program a sentence, and for Flower a broker that does not do it."""


class LedgerControl(Control):  # type: ignore[misc]
    def broadcast(self, command: str, *args: Any, **options: Any) -> None:
        """`inspect`, `control`, `status`: nobody listens, since whoever reaches the broker would
        command the workers. A worker that starts says hello, and hears nobody; whoever listens to
        events asks for a heartbeat, and hears the next one soon.
        """
        if command in ("hello", "heartbeat"):
            return
        raise NobodyListens(
            f"No worker takes {command!r} by way of the broker. "
            "See `manage.py jobs stats`, `jobs list`, `jobs why` and `doctor`; "
            "`jobs retry` and `jobs cancel` act on jobs."
        )

    def revoke(self, task_id: Any, *args: Any, **options: Any) -> None:
        """`AsyncResult.revoke()`: waiting jobs are cancelled. What runs goes on; `terminate` has no
        effect.
        """
        self._revoke([row_id(one) for one in maybe_list(task_id)], **options)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], *args: Any, **options: Any
    ) -> None:
        """Waiting jobs with one of these stamps are cancelled; those to come are not."""
        waiting = Job.objects.filter(state=State.WAITING, envelope__headers__stamps__isnull=False)
        stamps = waiting.values_list("pk", "envelope__headers__stamps").iterator()
        self._revoke([id_ for id_, own in stamps if _has_one_of(own or {}, headers)], **options)

    def _revoke(self, ids: list[UUID], *, terminate: bool = False, **_: Any) -> None:
        if terminate:
            log.warning("A revoked job that runs already goes on: the ledger knows no terminate.")
        error = {"type": "Revoked", "message": "revoked before it began"}
        verdict.cancel(self.app, Job.objects.filter(pk__in=ids), error=error)


def _has_one_of(stamps: Mapping[str, Any], headers: Mapping[str, Any]) -> bool:
    """A stamp is one value, or a list of them; so is what is asked for."""
    for name, values in headers.items():
        own = stamps.get(name)
        if own is not None and not set(maybe_list(own)).isdisjoint(maybe_list(values)):
            return True
    return False
