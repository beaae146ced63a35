"""What needs a person, beside what does not arrive: the parts of the staff's digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from django.utils.timezone import now

from celery_ledger import Job, State
from notifications.models import Alert, Suppression

LONG_AGO = datetime.min.replace(tzinfo=UTC)  # what is no news


@dataclass(frozen=True)
class Matter:
    """Things of one kind that wait for a person; each of `rows` as JSON, the newest of them."""

    news_at: datetime  # when the last of them came
    count: str  # "200+" beyond COUNTED_MAX
    rows: list[dict[str, Any]]


def matters() -> dict[str, Matter]:
    """What is open now: `jobs` that died, and what the shop itself names (DIGEST_OF_THE_SHOP). And
    what is told once: addresses that are `unmailed` since the last digest.
    """
    of_the_shop = import_string(settings.DIGEST_OF_THE_SHOP)()
    found = {"jobs": _dead_jobs(), "unmailed": _newly_unmailed(), **of_the_shop}
    return {name: matter for name, matter in found.items() if matter}


def matter(rows: Sequence[dict[str, Any]], *, news_at: datetime) -> Matter | None:
    """Of up to one row more than are counted; None where there is none."""
    if not rows:
        return None
    most = settings.DIGEST_COUNTED_MAX
    count = f"{most}+" if len(rows) > most else str(len(rows))
    return Matter(news_at, count, [*rows[: settings.DIGEST_SHOWN]])


def _dead_jobs() -> Matter | None:
    dead = Job.objects.filter(state=State.DEAD).order_by("-created_at", "-pk")
    jobs = list(dead.only("id", "task", "error", "finished_at")[: settings.DIGEST_COUNTED_MAX + 1])
    rows = [
        {
            "id": str(job.pk),
            "task": job.task.rpartition(".")[2],
            "error": (job.error or {}).get("type", ""),
        }
        for job in jobs
    ]
    ended = [job.finished_at for job in jobs if job.finished_at]
    return matter(rows, news_at=max(ended, default=LONG_AGO))


def _newly_unmailed() -> Matter | None:
    """Each in one digest, when whoever put it on the list has committed for sure."""
    settles = settings.CHANGES_SETTLE
    last_at = Alert.objects.digest_at() or now() - settings.DELIVERY_TOLD_FOR
    came = Suppression.objects.came(last_at - settles, now() - settles)
    newest = list(came[: settings.DIGEST_COUNTED_MAX + 1])
    rows = [{"id": str(one.pk), "why": one.why} for one in newest]
    return matter(rows, news_at=newest[0].since + settles if newest else LONG_AGO)
