"""How endpoints are: whether they are called, what waits for them, what they answered last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils.functional import Promise
from django.utils.timezone import now
from django.utils.translation import gettext_lazy

from notifications.models import Endpoint
from orders.models import Client

# Counts end at `most`; one index has both kinds of what is undelivered.
STATEMENT = """
SELECT endpoint.id,
       (SELECT count(*) FROM (SELECT FROM notifications_delivery
         WHERE endpoint_id = endpoint.id AND state = 'waiting'
         ORDER BY id LIMIT %(most)s) AS few),
       (SELECT count(*) FROM (SELECT FROM notifications_delivery
         WHERE endpoint_id = endpoint.id AND state = 'failed'
         ORDER BY id LIMIT %(most)s) AS few),
       coalesce(last.answer, endpoint.failed_with), last.ok, last.at
  FROM notifications_endpoint AS endpoint
  LEFT JOIN LATERAL (
       SELECT attempt.answer, attempt.ok, attempt.at
         FROM (SELECT id FROM notifications_delivery
                WHERE endpoint_id = endpoint.id ORDER BY id DESC LIMIT 1) AS newest
         JOIN notifications_attempt AS attempt ON attempt.delivery_id = newest.id
        ORDER BY attempt.id DESC LIMIT 1) AS last ON true
 WHERE endpoint.id = ANY(%(ids)s)
"""
BECAUSE: dict[str, Promise] = {
    Endpoint.Because.GONE: gettext_lazy("disabled: it answered 410 Gone"),
    Endpoint.Because.FAILING: gettext_lazy("disabled: nothing but failures came of it"),
    Endpoint.Because.ASKED: gettext_lazy("disabled: its owner wants it so"),
}


@dataclass(frozen=True)
class Health:
    endpoint: Endpoint
    client: str
    waiting: str  # how many, up to "200+"
    given_up: str
    answer: str  # the last one; of none that is kept, why it failed
    is_well: bool | None  # whether that was a good one
    answered_at: datetime | None

    @property
    def word(self) -> Promise:
        """Whether it is called, and if not, why."""
        one = self.endpoint
        if not one.active:
            return gettext_lazy("removed by its owner")
        if one.disabled_at:
            return BECAUSE.get(one.disabled_because, gettext_lazy("disabled"))
        if one.is_open and one.resting_until and one.resting_until > now():
            return gettext_lazy("rests: the circuit is open")
        if one.is_open:
            return gettext_lazy("is probed, one call at a time")
        if one.failing_since:
            return gettext_lazy("fails, and is still called freely")
        return gettext_lazy("is called freely") if one.quick else gettext_lazy("new here")

    @property
    def look(self) -> str:
        """A colour beside the word."""
        one = self.endpoint
        if not one.active:
            return ""
        if one.disabled_at or one.is_open:
            return "bad"
        if one.failing_since:
            return "wait"
        return "good" if one.quick else ""


def health_of(endpoints: Sequence[Endpoint], *, most: int) -> list[Health]:
    """The health of a page's endpoints, counting `most` deliveries of a kind at most."""
    values: dict[str, Any] = {"ids": [one.pk for one in endpoints], "most": most + 1}
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, values)
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    names = Client.objects.in_bulk([one.owner for one in endpoints])
    return [_of_row(one, names.get(one.owner), rows[one.pk], most) for one in endpoints]


def _of_row(endpoint: Endpoint, client: Client | None, row: Sequence[Any], most: int) -> Health:
    waiting, given_up, answer, is_well, answered_at = row
    counts = _counted(waiting, most), _counted(given_up, most)
    name = client.name if client else ""
    return Health(endpoint, name, *counts, answer, is_well, answered_at)


def in_trouble(before: Any = None) -> tuple[list[Health], Any]:
    """A page of those that fail or are disabled, the newest first; and the `before` of the next
    one.
    """
    troubled = Q(failing_since__isnull=False) | Q(disabled_at__isnull=False)
    rows, older = _page(Endpoint.objects.filter(troubled, active=True), before)
    share = settings.OPS_UNDELIVERED_OF_ALL // max(1, len(rows))
    return health_of(rows, most=min(settings.OPS_UNDELIVERED_MAX, share)), older


def well(before: Any = None) -> tuple[list[Health], Any]:
    """A page of the other endpoints that are active, the newest first, and the next `before`."""
    rows, older = _page(
        Endpoint.objects.filter(active=True, failing_since=None, disabled_at=None), before
    )
    return health_of(rows, most=settings.OPS_UNDELIVERED_OF_WELL), older


def _page(rows: Any, before: Any) -> tuple[list[Endpoint], Any]:
    most = settings.OPS_ENDPOINTS_MAX
    older = rows.filter(pk__lt=before) if before else rows
    found = list(older.order_by("-pk")[: most + 1])
    return found[:most], found[most - 1].pk if len(found) > most else None


def _counted(number: int, most: int) -> str:
    return f"{most}+" if number > most else str(number)
