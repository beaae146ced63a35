"""Deliveries that ended long ago are forgotten; nothing else is, and nobody misses them."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from config import limits
from notifications.interventions import replay
from notifications.models import Attempt, Delivery, Endpoint, Event, Suppression
from notifications.oversight.audit import DELIVERIES
from notifications.tasks import forget_old_deliveries
from orders.audit import broken
from orders.models import Client
from tests.doubles.edges import Postbox, WebhookSink
from tests.postgres.hands import Hand
from tests.shop import Api, post
from values.ids import first_id

pytestmark = pytest.mark.django_db(transaction=True)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
KEEP = limits.DELIVERY_KEEP
OLD, YOUNG = KEEP + DAY, KEEP - DAY
Past = Callable[..., Delivery]


@pytest.fixture
def endpoint(shop: Client) -> Endpoint:
    url = "https://example.com/hook"
    endpoint = Endpoint.objects.create(owner=shop.pk, url=url, events=["*"])
    Endpoint.objects.update(listens_since=timezone.now() - 9 * KEEP)
    return endpoint


@pytest.fixture
def past(endpoint: Endpoint) -> Past:
    """An event of so long ago and its one delivery, which was tried once and ended at that time."""

    def record(ago: timedelta, state: str = "delivered", **changes: Any) -> Delivery:
        at = timezone.now() - ago
        id_ = UUID(int=first_id(at).int + uuid4().int % 2**80)
        event = Event.objects.create(
            id=id_,
            kind="order.held",
            subject=uuid4(),
            seq=1,
            owner=endpoint.owner,
            data={},
            at=at,
            recorded_at=at,
            mails=0,
        )
        fields: dict[str, Any] = {
            "event": event,
            "channel": "webhook",
            "target": str(endpoint.pk),
            "endpoint": endpoint,
            "created_at": at,
            "delivered_at": at if state == "delivered" else None,
        }
        delivery = Delivery.objects.create(id=id_, state=state, tries=1, **{**fields, **changes})
        delivery.attempts.create(ok=state == "delivered", answer="answered", at=at)
        return delivery

    return record


def forget() -> int:
    """How many jobs it took."""
    before = Job.objects.count()
    forget_old_deliveries.delay()
    work_off()
    return Job.objects.count() - before


def left() -> set[UUID]:
    return set(Delivery.objects.values_list("pk", flat=True))


def wrong() -> list[str]:
    return list(broken(DELIVERIES, limit=99))


@pytest.mark.parametrize("state", ["delivered", "failed"])
def test_what_has_ended_is_forgotten_with_its_attempts_after_its_time_and_not_before(
    past: Past, state: str
) -> None:
    old, young = past(OLD, state), past(YOUNG, state)
    forget()
    assert left() == {young.pk}
    assert set(Attempt.objects.values_list("delivery", flat=True)) == {young.pk}
    assert set(Event.objects.values_list("pk", flat=True)) == {old.event_id, young.event_id}


def test_what_waits_or_has_ended_lately_is_never_forgotten_however_old(past: Past) -> None:
    ago = timezone.now() - YOUNG
    kept = {
        past(9 * OLD, "waiting").pk,
        past(9 * OLD, "failed", resend=True, resent_at=timezone.now() - OLD).pk,
        past(9 * OLD, "failed", resent_at=ago).pk,
        past(9 * OLD, delivered_at=ago).pk,
        past(9 * OLD, created_at=ago).pk,  # of an event that was told late
    }
    forget()
    assert left() == kept


def test_a_full_batch_goes_on(past: Past, settings: Any) -> None:
    settings.BATCH_ROWS = 2
    past(OLD, "waiting")
    for days in range(5):
        past(OLD + days * DAY)
    young = past(YOUNG)
    assert forget() == 3
    assert set(Delivery.objects.exclude(state="waiting").values_list("pk", flat=True)) == {young.pk}
    assert forget() == 1


def test_the_audit_is_in_order_afterwards_and_finds_what_was_never_told(past: Past) -> None:
    past(OLD)
    Event.objects.filter(pk=past(OLD).event_id).update(mails=1)
    past(OLD)
    Event.objects.update(recorded_at=None)  # as releases before wrote it
    past(OLD)
    forget()
    assert (left(), wrong()) == (set(), [])
    event, another, waiting = past(YOUNG).event, past(YOUNG).event, past(OLD, "waiting")
    Event.objects.filter(pk=another.pk).update(mails=1)
    event.deliveries.get().delete()
    past(KEEP - MINUTE).delete()  # of so old a one the transaction of an audit may see it too late
    assert [sentence.partition(" and no")[0].partition(" (")[0] for sentence in wrong()] == [
        f"event {event.pk}",
        f"event {another.pk}",
        f"delivery {waiting.pk}",
    ]


def test_what_is_asked_for_again_at_that_moment_stays_and_nobody_waits(
    past: Past, endpoint: Endpoint, one: Hand
) -> None:
    asked_for, _ = past(OLD, "failed"), past(OLD)
    with transaction.atomic():
        assert replay(endpoint.pk, since=timezone.now() - 2 * OLD, everything=False) == (1, False)
        assert one.do(forget_at_once) == 1
    assert left() == {asked_for.pk}


def test_who_erases_a_person_holds_no_attempt_while_waiting_for_a_delivery(
    past: Past, one: Hand, two: Hand
) -> None:
    """Else that one and whoever forgets could wait for each other."""
    mail, webhook = past(OLD, channel="mail", target="hana@example.com", endpoint=None), past(OLD)
    subject = mail.event.subject
    Event.objects.filter(pk=webhook.event_id).update(subject=subject, seq=2)
    with transaction.atomic():
        Delivery.objects.locked(mail.pk)
        erased = one.begin(lambda: erase_at_once(subject))
        one.wait_until_blocked()
        assert two.do(forget_at_once) == 1
    erased.result(timeout=10)
    assert list(Delivery.objects.values_list("pk", "target")) == [(mail.pk, "")]


def erase_at_once(subject: UUID) -> None:
    with transaction.atomic():
        Delivery.objects.forget_person(subject)


def forget_at_once() -> int:
    with transaction.atomic():
        return Delivery.objects.forget_old(limit=9)


def test_what_is_forgotten_is_in_no_answer_and_in_nobodys_way(
    api: Api,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    sink: WebhookSink,
    postbox: Postbox,
    settings: Any,
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL, settings.DELIVERY_KEEP = True, timedelta(0)
    stock()
    endpoint = Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True)
    order = api.place(order_body()).json()
    work_off()
    assert post(api, f"/v1/orders/{order['id']}/cancel", {"reason": "late"}).status_code == 202
    work_off()
    gone, events = Delivery.objects.filter(channel="webhook")[0].pk, Event.objects.count()
    heard, mails = len(sink.heard), len(postbox.mails)
    forget()
    assert (left(), Event.objects.count()) == (set(), events)

    path = f"/v1/webhook-endpoints/{endpoint.pk}"
    assert api.get(f"{path}/deliveries").json()["data"] == []
    assert api.get(f"{path}/deliveries/{gone}").status_code == 404
    since = (timezone.now() - DAY).isoformat()
    assert post(api, f"{path}/replay", {"since": since, "state": "all"}).json()["deliveries"] == 0
    with pytest.raises(CommandError, match=r"ended ones are forgotten after 0 days"):
        call_command("deliveries", "why", str(gone), stdout=StringIO())
    assert len(api.get("/v1/events").json()["data"]) == heard
    person = {"email": order["email"]}
    [kept] = post(api, "/v1/customers/export", person).json()["data"]
    assert (len(kept["events"]) > 0, kept["mails"]) == (True, [])
    Suppression.objects.add(order["email"], why="complained")
    assert post(api, "/v1/customers/erase", person).status_code == 202
    work_off()
    assert Suppression.objects.get().erased_at, "though no mail says that it is theirs"
    assert (len(postbox.mails), len(sink.heard)) == (mails, heard + 1), "only that it is erased"


def test_a_mail_that_arrives_while_its_person_is_forgotten_has_arrived(shop: Client) -> None:
    subject = uuid4()
    with transaction.atomic():
        event = Event.objects.create(
            kind="order.held", subject=subject, seq=1, owner=shop.pk, data={}
        )
        mail = Delivery.objects.create(event=event, channel="mail", target="hana@example.com")
    with Hand() as sender, Hand() as eraser:
        sender.open_transaction()
        arrived = {"state": "delivered", "delivered_at": timezone.now()}
        sender.do(lambda: Delivery.objects.filter(pk=mail.pk).update(**arrived))
        forgotten = eraser.begin(lambda: Delivery.objects.forget_person(subject))
        eraser.wait_until_blocked()
        sender.commit()
        forgotten.result(timeout=20)
    mail.refresh_from_db()
    assert (mail.state, mail.target) == ("delivered", "")
