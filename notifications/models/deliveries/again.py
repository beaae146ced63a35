"""Deliveries that are sent again: which may be, how many they are, and how they wait anew.

Whoever asks for it marks them (`resend`); jobs then let the marked ones wait, some at a time.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db.models import Case, Q, When
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from notifications.models.deliveries.in_order import InOrderQuerySet
from notifications.models.endpoint import Endpoint
from notifications.models.event import TEST, Event
from values.ids import CLOCK_SKEW, first_id

if TYPE_CHECKING:
    from notifications.models.deliveries.delivery import Delivery


class AgainQuerySet(InOrderQuerySet):
    def retryable(
        self, *, since: datetime, until: datetime | None = None, everything: bool = False
    ) -> Self:
        """Those that may be sent again, made from `since` on and before `until`: what was given up,
        or everything that has ended.

        Not what is on its way already, or was asked for a moment ago: asking twice does no harm.
        Nor what has nowhere to go, to an endpoint that is disabled or an address forgotten; nor a
        test.
        """
        able = Q(channel=self.model.Channel.MAIL) | Q(
            endpoint__active=True, endpoint__disabled_at=None
        )
        made = self.filter(self._made(since, until), pk__gte=first_id(since - CLOCK_SKEW))
        over = made.filter(self._is_over(everything)).exclude(target="")
        return over.filter(able).exclude(event__kind=TEST)

    def count_retryable(
        self,
        endpoint: Endpoint | None,
        *,
        since: datetime,
        until: datetime,
        everything: bool,
        limit: int,
    ) -> tuple[int, bool]:
        """How many `retryable` ones go to this endpoint, or None: to people, by mail. Only the
        first `limit` rows of that time are looked at; True when there are more.
        """
        if endpoint and not (endpoint.active and endpoint.disabled_at is None):
            return 0, False
        channel = self.model.Channel.WEBHOOK if endpoint else self.model.Channel.MAIL
        is_over = self._made(since, until) & self._is_over(everything)
        is_meant = is_over & Q(channel=channel) & ~Q(target="")
        rows = self._looked_at(endpoint, since, until, everything)
        columns = rows.annotate(is_meant=Case(When(is_meant, then=True), default=False))
        looked_at = list(columns.values_list("event", "is_meant")[: limit + 1])
        # the events of all of them at once: one by one they would be four times as dear
        events = [event for event, is_meant in looked_at[:limit] if is_meant]
        tests = Event.objects.filter(pk__in=events, kind=TEST).count() if endpoint else 0
        return len(events) - tests, len(looked_at) > limit

    def _looked_at(
        self, endpoint: Endpoint | None, since: datetime, until: datetime, everything: bool
    ) -> Self:
        """Rows of about that time with all `retryable` ones among them, by the index that has the
        fewest others: the newest first, since what is sent again begins with the oldest.
        """
        state, end = self.model.State, min(until, timezone.now()) + CLOCK_SKEW
        rows = self.filter(pk__gte=first_id(since - CLOCK_SKEW), pk__lt=first_id(end))
        if endpoint and not everything:  # in any order, or Postgres may sort all that there are
            return rows.filter(endpoint=endpoint, state=state.FAILED)
        if endpoint:
            rows = rows.filter(endpoint=endpoint)
        elif not everything:
            rows = rows.filter(Q(state=state.FAILED) | Q(state=state.WAITING, tries__gt=0))
        return rows.order_by("-pk")

    def _made(self, since: datetime, until: datetime | None) -> Q:
        made = Q(created_at__gte=since)
        return made & Q(created_at__lt=until) if until else made

    def _is_over(self, everything: bool) -> Q:
        state = self.model.State
        ended = [state.FAILED, state.DELIVERED] if everything else [state.FAILED]
        rested = Q(resent_at=None) | Q(resent_at__lt=Now() - settings.WEBHOOK_REPLAY_REST)
        return Q(rested, state__in=ended, resend=False)

    def ask_again(self, chosen: Self, *, everything: bool = False) -> tuple[int, bool]:
        """Mark up to WEBHOOK_REPLAY_MAX of `chosen`, `retryable` ones of one target: how many, and
        whether more are left. The caller holds the lock of the target, if it is an endpoint.
        """
        next_ones = chosen.order_by("pk").values("pk")[: settings.WEBHOOK_REPLAY_MAX]
        # asked once more of what it finds locked: somebody else may have had the same thought
        still = self.filter(self._is_over(everything), pk__in=next_ones)
        count = still.update(resend=True, resent_at=Now())
        return count, count == settings.WEBHOOK_REPLAY_MAX and chosen.exists()

    def begin_again(self, endpoint_id: Any, *, after: Any, limit: int) -> list["Delivery"]:
        """Let up to `limit` of the marked ones after that id wait anew, each with a new job; the
        oldest first. Of the endpoint whose lock the caller holds, or None: of mails.
        """
        marked = self.filter(endpoint=endpoint_id, resend=True, pk__gt=after).select_related(
            "endpoint"
        )
        again = list(marked.select_for_update(no_key=True, of=("self",)).order_by("pk")[:limit])
        for delivery in again:
            delivery.state = self.model.State.WAITING
            delivery.tries, delivery.delivered_at = 0, None
            delivery.resend, delivery.suppressed = False, False
            delivery.job = uuid7()
        self.bulk_update(again, ["state", "tries", "delivered_at", "resend", "suppressed", "job"])
        return again

    def forget_asked(self, endpoint_id: Any) -> None:
        """Take the mark away: these stay as they ended. Of the endpoint whose lock the caller
        holds, or None: of mails.
        """
        self.filter(endpoint=endpoint_id, resend=True).update(resend=False, resent_at=None)
