"""Celery's remote control. Of it only `revoke` works here, for jobs that wait."""

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
    """A command for workers was given, and no worker takes commands.

    A ClickException, so that the `celery` program prints the sentence; an OperationalError, which
    Flower takes for a broker that cannot do it.
    """


class LedgerControl(Control):  # type: ignore[misc]
    """`app.control`: revokes jobs in Postgres, and sends no command to any worker."""

    def broadcast(self, command: str, *args: Any, **options: Any) -> None:
        """Raise NobodyListens for any command of `celery inspect`, `control` or `status`.

        Workers take no commands, since anybody who reaches the broker could give them. Two commands
        are ignored instead: `hello`, which a starting worker sends to the others, and `heartbeat`,
        which listeners to events send.
        """
        if command in ("hello", "heartbeat"):
            return
        raise NobodyListens(
            f"No worker takes {command!r} by way of the broker. "
            "See `manage.py jobs stats`, `jobs list`, `jobs why` and `doctor`; "
            "`jobs retry` and `jobs cancel` act on jobs."
        )

    def revoke(self, task_id: Any, *args: Any, **options: Any) -> None:
        """Cancel those of these jobs that wait (`AsyncResult.revoke()`). A running job goes on,
        also with `terminate=True`, which is logged.
        """
        self._revoke([row_id(id_) for id_ in maybe_list(task_id)], **options)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], *args: Any, **options: Any
    ) -> None:
        """Cancel the waiting jobs that have one of these stamps; jobs promised later are not."""
        waiting = Job.objects.filter(state=State.WAITING, envelope__headers__stamps__isnull=False)
        stamps = waiting.values_list("pk", "envelope__headers__stamps").iterator()
        stamped = [id_ for id_, own in stamps if _has_one_of(own or {}, headers)]
        self._revoke(stamped, **options)

    def _revoke(self, ids: list[UUID], *, terminate: bool = False, **_: Any) -> None:
        if terminate:
            log.warning("A revoked job that runs already goes on: the ledger knows no terminate.")
        error = {"type": "Revoked", "message": "revoked before it began"}
        verdict.cancel(self.app, Job.objects.filter(pk__in=ids), error=error)


def _has_one_of(stamps: Mapping[str, Any], headers: Mapping[str, Any]) -> bool:
    """Whether any header has a value that the stamp of the same name has. Both may be one value or
    a list of values.
    """
    for name, values in headers.items():
        own = stamps.get(name)
        if own is not None and not set(maybe_list(own)).isdisjoint(maybe_list(values)):
            return True
    return False
