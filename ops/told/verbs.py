"""What staff do about what does not arrive; each leaves a StaffAction, twice comes to once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from notifications import interventions, tasks
from notifications.models import Delivery, Endpoint, Event, Suppression
from ops.models import StaffAction
from orders.models import Order


@dataclass(frozen=True)
class Span:
    """Deliveries of a time to one endpoint, or with None all mails: those that were given up, or
    `everything` that has ended.
    """

    endpoint: Endpoint | None
    since: datetime
    until: datetime
    everything: bool

    @property
    def subject(self) -> str:
        return f"endpoint {self.endpoint.pk}" if self.endpoint else "channel mail"

    def counted(self) -> tuple[int, bool]:
        """How many would be sent again, and whether more would that were not counted."""
        return Delivery.objects.count_retryable(
            self.endpoint,
            since=self.since,
            until=self.until,
            everything=self.everything,
            limit=self.looked_at,
        )

    @property
    def looked_at(self) -> int:
        """How many deliveries are read to count them: more where they lie side by side."""
        in_a_row = self.everything and self.endpoint is None
        return settings.OPS_LOOKED_AT if in_a_row else settings.OPS_REPLAY_COUNTED_MAX

    def replay(self, *, by: Any) -> tuple[int, bool]:
        """Send up to WEBHOOK_REPLAY_MAX of them again: how many, and whether more are left."""
        chosen = Delivery.objects.retryable(
            since=self.since, until=self.until, everything=self.everything
        )
        endpoint_id = self.endpoint.pk if self.endpoint else None
        with transaction.atomic():
            count, more = interventions.send_again(chosen, endpoint_id, everything=self.everything)
            if count:
                what = "everything" if self.everything else "failed"
                since, until = self.since.isoformat(), self.until.isoformat()
                seen: dict[str, Any] = {"said": {"since": since, "until": until, "what": what}}
                seen["after"] = {"deliveries": count}
                StaffAction.note(by, "replay", self.subject, **seen)
        return count, more


def send_again(delivery_id: UUID, *, by: Any) -> bool:
    """A mail or webhook that has ended, under the same id as before. False when it is on its way
    already, was asked for a moment ago, or has nowhere to go.
    """
    with transaction.atomic():
        one = Delivery.objects.select_related("event").get(pk=delivery_id)
        chosen = Delivery.objects.retryable(since=one.created_at, everything=True).filter(pk=one.pk)
        count, _more = interventions.send_again(chosen, one.endpoint_id, everything=True)
        if count:
            order = order_of(one.event)
            StaffAction.note(
                by,
                "send_again",
                order.pk if order else f"delivery {one.pk}",
                said={"what": f"{one.event.kind}, {one.channel}"},
                before={"delivery": one.state},
                after={"delivery": Delivery.State.WAITING},
            )
    return bool(count)


def order_of(event: Event) -> Order | None:
    """The order that the event is of; None for an event of something else."""
    return Order.objects.filter(pk=event.subject).select_related("client").first()


def enable(endpoint_id: UUID, *, by: Any) -> bool:
    """Have it called again, at once. False when nothing keeps it from being called, or its owner
    has removed it.
    """
    with transaction.atomic():
        endpoint = Endpoint.objects.locked(endpoint_id)
        if not (endpoint.active and Endpoint.objects.forgive(endpoint_id)):
            return False
        tasks.call_up(endpoint_id)
        before = {"disabled_because": endpoint.disabled_because, "failures": endpoint.failures}
        after = {"disabled_because": "", "failures": 0}
        subject = f"endpoint {endpoint_id}"
        StaffAction.note(by, "enable_endpoint", subject, before=before, after=after)
    return True


def test(endpoint_id: UUID, *, by: Any) -> Delivery | None:
    """The delivery of a test to it: a new one, or the one that is under way. None for an endpoint
    that its owner has removed.
    """
    with transaction.atomic():
        endpoint = Endpoint.objects.locked(endpoint_id)
        if not endpoint.active:
            return None
        before = Event.objects.timeline(endpoint_id).last()
        delivery = interventions.test(endpoint_id)
        if not before or delivery.event_id != before.pk:
            after = {"delivery": str(delivery.pk)}
            StaffAction.note(by, "test_endpoint", f"endpoint {endpoint_id}", after=after)
    return delivery


def suppress(address: str, reason: str, *, by: Any) -> bool:
    """Nothing is mailed there from now on; False when nothing was before. The action names the row
    and not the address, which would outlast the erasure of its person.
    """
    why = Suppression.Why.STAFF
    with transaction.atomic():
        who = by.get_username()
        is_new = Suppression.objects.add(address, why=why, details=reason, who=who)
        listed = Suppression.objects.of(address)
        if is_new and listed:
            seen = {"said": {"reason": reason}}
            StaffAction.note(by, "suppress_address", f"address {listed.pk}", **seen)
    return is_new


def unsuppress(pk: int, reason: str, *, by: Any) -> bool:
    """It is mailed again. False when it was taken off already."""
    with transaction.atomic():
        if not (listed := Suppression.objects.take_off(pk)):
            return False
        before, after = {"why": listed.why}, {"why": ""}
        seen = {"said": {"reason": reason}, "before": before, "after": after}
        StaffAction.note(by, "unsuppress_address", f"address {pk}", **seen)
    return True
