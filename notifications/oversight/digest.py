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

LONG_AGO = datetime.min.replace(tzinfo=UTC)  # `news_at` of what is no news


@dataclass(frozen=True)
class Matter:
    """Things of one kind that wait for a person; each of `rows` as JSON, the newest of them."""

    news_at: datetime  # when the last of them came
    count: str  # "200+" beyond COUNTED_MAX
    rows: list[dict[str, Any]]


def matters() -> dict[str, Matter]:
    """By name, what is open now: `jobs` that died, and what the shop itself names
    (DIGEST_OF_THE_SHOP). And what stands in one digest only: addresses that are `unmailed` since
    the last one. A name without rows is left out.
    """
    of_the_shop = import_string(settings.DIGEST_OF_THE_SHOP)()
    found = {"jobs": _dead_jobs(), "unmailed": _newly_unmailed(), **of_the_shop}
    return {name: matter for name, matter in found.items() if matter}


def matter(rows: Sequence[dict[str, Any]], *, news_at: datetime) -> Matter | None:
    """The matter of these rows, which are up to one more than DIGEST_COUNTED_MAX, or None without
    any; `news_at`: when the last of them came.
    """
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
    """Addresses that came on the list since the last digest. Those of the last CHANGES_SETTLE are
    left to the next one: whoever adds one may not have committed yet.
    """
    settles = settings.CHANGES_SETTLE
    last_at = Alert.objects.digest_at() or now() - settings.DELIVERY_TOLD_FOR
    came = Suppression.objects.came(last_at - settles, now() - settles)
    newest = list(came[: settings.DIGEST_COUNTED_MAX + 1])
    rows = [{"id": str(one.pk), "why": one.why} for one in newest]
    return matter(rows, news_at=newest[0].since + settles if newest else LONG_AGO)
