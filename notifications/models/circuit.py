"""Whether an endpoint may be called: a circuit, which a run of failures opens (docs/adr/0040).

It is closed while its endpoint is `quick`: any number of calls at once, and those that arrive write
nothing. ENDPOINT_FAILURES_MAX failures in a row open it, or one answer that was not quick, or that
asked for a pause: the endpoint rests, and its deliveries stand in line, one place for each rest, so
that whoever comes first probes it and nobody else costs anything. When the rest is over, and as
long as an endpoint has never answered, it is called once at a time. A quick answer closes it, and
the line is called up.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from celery_ledger import delay_s

if TYPE_CHECKING:
    from notifications.models.endpoint import Endpoint

# The next free place in line, in seconds from now; the one after it comes a rest later.
TAKE_PLACE = """
UPDATE notifications_endpoint SET line_until = greatest(line_until, resting_until, now()) + %(rest)s
 WHERE id = %(id)s AND NOT quick
RETURNING extract(epoch FROM line_until - %(rest)s - now())
"""
# One call at a time, of few at a time of all endpoints of its owner, when its rest is over.
TAKE_TURN = """
WITH own AS (
    SELECT id, busy_until FROM notifications_endpoint
     WHERE owner = %(owner)s AND active ORDER BY id FOR NO KEY UPDATE
)
UPDATE notifications_endpoint AS endpoint SET busy_until = clock_timestamp() + %(call)s
 WHERE id = %(id)s AND coalesce(busy_until < clock_timestamp(), true)
   AND (%(at_once)s OR coalesce(resting_until <= clock_timestamp(), true))
   AND (SELECT count(*) FROM own WHERE busy_until >= clock_timestamp()) < %(of_owner)s
"""
# Only calls that were made while the circuit was as it is now count: others are late news.
STUMBLED = """
UPDATE notifications_endpoint
   SET failures = greatest(failures + 1, %(at_least)s),
       failing_since = coalesce(failing_since, now()),
       failed_with = %(answer)s,
       warned = CASE WHEN failing_since IS NULL THEN 0 ELSE warned END,
       quick = greatest(failures + 1, %(at_least)s) < %(run)s AND quick,
       busy_until = NULL,
       resting_until = CASE WHEN greatest(failures + 1, %(at_least)s) >= %(run)s
                            THEN now() + %(rest)s END
 WHERE id = %(id)s AND quick = %(quick)s
RETURNING failing_since < now() - %(patience)s
"""
ANSWERED = """
WITH before AS (
    SELECT id, quick FROM notifications_endpoint
     WHERE id = %(id)s AND (failures > 0 OR NOT quick) FOR NO KEY UPDATE
)
UPDATE notifications_endpoint AS endpoint
   SET failures = 0, quick = true, failing_since = NULL,
       busy_until = NULL, resting_until = NULL, line_until = NULL
  FROM before WHERE endpoint.id = before.id
RETURNING NOT before.quick
"""
SOON_S = 0.5  # until one comes again that finds an endpoint busy
DISABLED = 100  # `warned` of one that is disabled: per cent of ENDPOINT_PATIENCE


class CircuitQuerySet(models.QuerySet["Endpoint"]):
    def take_turn(self, endpoint: "Endpoint", *, at_once: bool = False) -> float:
        """0.0 when the caller may call the endpoint now, or else in how many seconds to come again.
        `at_once`: it may also while the endpoint rests.

        An owner's endpoints that are not quick take WEBHOOK_SLOW_CALLS_PER_CLIENT calls at a time,
        all together: else servers that hang would hold every thread, and everybody's webhooks.
        """
        if endpoint.quick:
            return 0.0
        values: dict[str, Any] = {
            "id": endpoint.pk,
            "owner": endpoint.owner,
            # the turn ends by itself after that, when whoever took it has died
            "call": timedelta(seconds=2 * settings.WEBHOOK_TIMEOUT_S),
            "of_owner": settings.WEBHOOK_SLOW_CALLS_PER_CLIENT,
            "at_once": at_once,
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE_TURN, values)
            if cursor.rowcount:
                return 0.0
        return SOON_S if at_once else max(self.take_place(endpoint), SOON_S)

    def take_place(self, endpoint: "Endpoint") -> float:
        """Take the next place in line: in how many seconds it is due; 0.0 when the endpoint is
        quick again and there is no line.
        """
        rest_s = _rest_s(endpoint.failures) if endpoint.is_open else SOON_S
        values: dict[str, Any] = {"id": endpoint.pk, "rest": timedelta(seconds=rest_s)}
        with connection.cursor() as cursor:
            cursor.execute(TAKE_PLACE, values)
            place = cursor.fetchone()
        return float(place[0]) if place else 0.0

    def stumbled(
        self, endpoint: "Endpoint", *, answer: str, after_s: float, pause_s: float
    ) -> bool:
        """Note that a call of it has failed with that answer, which took `after_s` and asked for a
        pause of `pause_s`. True when its calls have done nothing but fail for ENDPOINT_PATIENCE.
        """
        at_once = pause_s > 0 or after_s > settings.WEBHOOK_QUICK_S
        values: dict[str, Any] = {
            "id": endpoint.pk,
            "quick": endpoint.quick,
            "answer": answer,
            "run": settings.ENDPOINT_FAILURES_MAX,
            "at_least": settings.ENDPOINT_FAILURES_MAX if at_once else 0,
            "rest": timedelta(seconds=max(_rest_s(endpoint.failures + 1), pause_s)),
            "patience": settings.ENDPOINT_PATIENCE,
        }
        with connection.cursor() as cursor:
            cursor.execute(STUMBLED, values)
            noted = cursor.fetchone()
        return bool(noted and noted[0])

    def answered(self, pk: Any, *, after_s: float) -> bool:
        """Note that the endpoint has taken a delivery. True when it was not quick until now, and
        is: its line is to be called up.

        An answer that took longer than WEBHOOK_QUICK_S opens the circuit: the endpoint rests as
        after its first failures, and not for longer each time.
        """
        if after_s <= settings.WEBHOOK_QUICK_S:
            with connection.cursor() as cursor:
                cursor.execute(ANSWERED, {"id": pk})
                before = cursor.fetchone()
            return bool(before and before[0])
        self.filter(pk=pk).update(
            failures=settings.ENDPOINT_FAILURES_MAX,
            quick=False,
            failing_since=None,
            busy_until=None,
            resting_until=Now() + timedelta(seconds=_rest_s(settings.ENDPOINT_FAILURES_MAX)),
        )
        return False

    def forgive(self, pk: Any) -> bool:
        """Forget its failures and enable it: it is another server now, or its owner says that it is
        well. True when it was in trouble or disabled.
        """
        anew: dict[str, Any] = {
            "failures": 0,
            "quick": False,
            "failing_since": None,
            "busy_until": None,
            "resting_until": None,
            "line_until": None,
        }
        able = {"disabled_at": None, "disabled_because": "", "listens_since": Now()}
        was_disabled = self.filter(pk=pk, disabled_at__isnull=False).update(**anew, **able)
        return bool(was_disabled or self.filter(pk=pk, failures__gt=0).update(**anew))

    def disable(self, pk: Any, *, because: str) -> bool:
        """Tell it nothing more until its owner enables it; `because`: one of Endpoint.Because. True
        when it was enabled until now.
        """
        able = self.filter(Q(disabled_at__isnull=True), pk=pk, active=True)
        return bool(able.update(disabled_at=Now(), disabled_because=because))

    def take_unwarned(self, *, limit: int) -> list["Endpoint"]:
        """Up to `limit` endpoints that only fail and of which the owner is to be told now, locked.
        The caller tells them: `warned` is set to how much of ENDPOINT_PATIENCE is over, in per
        cent.
        """
        over = _share_over()
        too_late = Q(disabled_at__lte=Now() - settings.DELIVERY_TOLD_FOR)
        failing = self.filter(active=True, failing_since__isnull=False)
        failing = failing.exclude(too_late).exclude(disabled_because="asked")
        due = failing.annotate(over=over).filter(warned__lt=F("over")).order_by("pk")
        locked = list(due.select_for_update(no_key=True)[:limit])
        taken = self.filter(pk__in=[endpoint.pk for endpoint in locked])
        taken.update(warned=over)
        return list(taken.order_by("pk"))


def _share_over() -> Case:
    """The largest of ENDPOINT_WARNED_AT that an endpoint has failed through, DISABLED of one that
    is disabled, or 0.
    """
    passed = [
        When(failing_since__lte=Now() - settings.ENDPOINT_PATIENCE * share / DISABLED, then=share)
        for share in sorted(settings.ENDPOINT_WARNED_AT, reverse=True)
    ]
    return Case(When(disabled_at__isnull=False, then=DISABLED), *passed, default=0)


def _rest_s(failures: int) -> float:
    """How long it rests after so many failures in a row: ENDPOINT_REST_S when the circuit opens,
    and twice as long after each failure more, up to ENDPOINT_REST_CAP_S.
    """
    probes = max(1, failures - settings.ENDPOINT_FAILURES_MAX + 1)
    return delay_s(probes, base_s=settings.ENDPOINT_REST_S, cap_s=settings.ENDPOINT_REST_CAP_S)
