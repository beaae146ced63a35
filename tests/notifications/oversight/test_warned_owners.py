"""The owner of an endpoint that only fails is told in time, once each, and what to do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as limits
from django.db import transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications import events, interventions
from notifications.models import Delivery, Endpoint, Event, Shop
from notifications.oversight.tasks import warn_owners
from notifications.oversight.trouble import troubles
from orders.models import Client
from tests.doubles.edges import Postbox, WebhookSink, read
from tests.postgres.hands import Hand
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
DAY, PATIENCE = timedelta(days=1), limits.ENDPOINT_PATIENCE
Happen = Callable[[int], None]


@pytest.fixture
def endpoint(shop: Client, sink: WebhookSink, settings: Any) -> Endpoint:
    """It has answered before; its owner has an address."""
    settings.WEBHOOK_ALLOW_LOCAL, settings.ENDPOINT_REST_S = True, 0.0
    Shop.objects.change(shop.pk, {"reply_to": "owner@example.com"})
    url = f"{sink.url}&token=leaked"
    return Endpoint.objects.create(owner=shop.pk, url=url, events=["*"], quick=True)


@pytest.fixture
def happen(shop: Client) -> Happen:
    def record(times: int) -> None:
        for _ in range(times):
            with transaction.atomic():
                events.record("order.held", subject=uuid4(), seq=1, owner=shop.pk, data={})

    return record


def look(*, failing_for: timedelta | None = None) -> None:
    """What the clock promises; it has failed for so long by then."""
    if failing_for is not None:
        Endpoint.objects.update(failing_since=timezone.now() - failing_for)
    warn_owners.delay()
    work_off()


def warnings() -> list[tuple[str, int]]:
    """What was told, and how much of the time was over."""
    recorded = Event.objects.filter(kind__startswith="endpoint.").order_by("pk")
    return [(one.kind, one.data["endpoint"]["share"]) for one in recorded]


def fail(sink: WebhookSink, happen: Happen) -> None:
    sink.answers = [503] * 99
    happen(1)
    work_off()


# --- when -----------------------------------------------------------------------------------------


def test_its_owner_is_told_at_a_half_at_three_quarters_and_at_the_end_once_each(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox
) -> None:
    fail(sink, happen)
    for share, number in [(0.49, 0), (0.51, 1), (0.7, 1), (0.76, 2), (0.99, 2), (1.01, 2)]:
        for _ in range(2):
            look(failing_for=PATIENCE * share)
            assert (share, len(postbox.mails)) == (share, number)
    happen(1)
    work_off()  # and is disabled by it
    for _ in range(2):
        look()
        assert len(postbox.mails) == 3
    steps = [("endpoint.failing", 50), ("endpoint.failing", 75), ("endpoint.disabled", 100)]
    assert warnings() == steps
    assert Delivery.objects.filter(channel="mail", target="owner@example.com").count() == 3
    assert not [one for one in sink.heard if b"endpoint." in one[1]], "no endpoint hears of it"


def test_what_was_passed_unseen_is_told_by_its_last(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox
) -> None:
    """No worker lived for a while."""
    fail(sink, happen)
    look(failing_for=PATIENCE * 0.8)
    look(failing_for=PATIENCE * 0.9)
    assert warnings() == [("endpoint.failing", 75)]


def test_one_that_has_worked_meanwhile_is_told_of_from_the_beginning(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox
) -> None:
    fail(sink, happen)
    look(failing_for=PATIENCE * 0.8)
    sink.answers = []
    work_off(ahead=DAY)
    look()
    assert Endpoint.objects.get().failing_since is None
    fail(sink, happen)
    look(failing_for=PATIENCE * 0.3)
    look(failing_for=PATIENCE * 0.6)
    look(failing_for=PATIENCE * 0.8)
    assert [share for _, share in warnings()] == [75, 50, 75]


def test_one_whose_owner_has_enabled_it_is_told_of_from_the_beginning(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox, api: Api
) -> None:
    fail(sink, happen)
    Endpoint.objects.update(failing_since=timezone.now() - PATIENCE)
    fail(sink, happen)
    look()
    path = f"/v1/webhook-endpoints/{endpoint.pk}"
    assert api.patch(path, {"active": True}, content_type="application/json").status_code == 200
    fail(sink, happen)
    look(failing_for=PATIENCE * 0.6)
    assert warnings() == [("endpoint.disabled", 100), ("endpoint.failing", 50)]


def test_one_that_is_gone_is_told_of_and_one_that_nobody_wants_is_not(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox
) -> None:
    sink.answers = [410]
    happen(1)
    work_off()
    as_it_is = Endpoint.objects.values().get()
    unwanted: list[dict[str, Any]] = [
        {"active": False},
        {"disabled_because": "asked"},
        {"disabled_at": timezone.now() - limits.DELIVERY_TOLD_FOR},  # by releases before, too
    ]
    for change in unwanted:
        Endpoint.objects.update(**{**as_it_is, **change})
        look()
        assert warnings() == []
    Endpoint.objects.update(**as_it_is)
    look()
    assert warnings() == [("endpoint.disabled", 100)]
    assert "gone for good" in read(postbox.mails[0])[1]


# --- once -----------------------------------------------------------------------------------------


def test_two_clocks_at_once_tell_it_once(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox, one: Hand
) -> None:
    fail(sink, happen)
    Endpoint.objects.update(failing_since=timezone.now() - PATIENCE * 0.6)
    with transaction.atomic():
        warn_owners.run()
        theirs = one.begin(transaction.atomic(warn_owners.run))
        one.wait_until_blocked()
    theirs.result(timeout=10)
    work_off()
    assert (warnings(), len(postbox.mails)) == ([("endpoint.failing", 50)], 1)


def test_one_that_answers_at_that_moment_is_not_told_of(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox, one: Hand
) -> None:
    fail(sink, happen)
    Endpoint.objects.update(failing_since=timezone.now() - PATIENCE * 0.6)
    with transaction.atomic():
        Endpoint.objects.answered(endpoint.pk, after_s=0.0)
        theirs = one.begin(transaction.atomic(warn_owners.run))
        one.wait_until_blocked()
    theirs.result(timeout=10)
    assert warnings() == []


def test_what_was_rolled_back_is_told_by_the_next_with_its_delivery_and_its_job(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    fail(sink, happen)
    Endpoint.objects.update(failing_since=timezone.now() - PATIENCE * 0.6)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        warn_owners.run()
        raise ZeroDivisionError
    mails = Delivery.objects.filter(channel="mail")
    assert (Endpoint.objects.get().warned, warnings(), mails.count()) == (0, [], 0)
    for _ in range(2):
        with transaction.atomic():
            warn_owners.run()
    [mail] = mails
    assert Job.objects.get(pk=str(mail.job)).task == "notifications.tasks.send_mail"


def test_many_that_fail_are_told_of_some_at_a_time(
    endpoint: Endpoint, shop: Client, settings: Any
) -> None:
    settings.TELL_AT_ONCE = 2
    since = timezone.now() - PATIENCE * 0.6
    Endpoint.objects.update(failing_since=since)
    for number in range(4):
        url = f"https://shop{number}.example.com/"
        Endpoint.objects.create(owner=shop.pk, url=url, events=["*"], failing_since=since)
    for number in (2, 4, 5, 5):
        with transaction.atomic():
            warn_owners.run()
        assert len(warnings()) == number


# --- what, and to whom ----------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_mail_says_which_since_when_with_what_how_much_waits_and_what_to_do(
    endpoint: Endpoint,
    sink: WebhookSink,
    happen: Happen,
    postbox: Postbox,
    language: str,
    settings: Any,
) -> None:
    settings.DELIVERY_SECOND_TRY_S = 3600.0
    Shop.objects.change(endpoint.owner, {"language": language})
    fail(sink, happen)
    happen(3)
    Delivery.objects.filter(tries=0).update(state="failed", job=None)
    happen(2)
    with transaction.atomic():
        interventions.test(endpoint.pk)  # nobody waits for it
    look(failing_for=PATIENCE * 0.6)
    since = Endpoint.objects.get().failing_since
    assert since is not None
    mail, text, html = read(postbox.mails[0])
    assert mail["To"] == "owner@example.com"
    host = sink.url.split("/")[2]
    assert host in mail["Subject"]
    facts = (
        host,
        f"{timezone.localtime(since):%Y-%m-%d %H:%M:%S %Z}",
        "answered 503",
        f"{timezone.localtime(since + PATIENCE):%Y-%m-%d %H:%M %Z}",
        "50 %",
        f"/v1/webhook-endpoints/{endpoint.pk}/replay",
    )
    for form in (text, html):
        assert [fact for fact in facts if fact not in form] == []
        assert "leaked" not in form, "of its URL nothing that may be a key"
        assert endpoint.secret.removeprefix("whsec_") not in form
    counts = {
        "en": ("wait for it: 3\n", "given up: 3\n"),
        "ja": ("ベント：3 件\n送信をあきらめたイベント：3 件",),
    }
    assert [words for words in counts[language] if words not in text] == []


def test_the_requests_that_it_names_bring_everything_back(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, postbox: Postbox, api: Api
) -> None:
    """What had waited before the first failure, too."""
    fail(sink, happen)
    Endpoint.objects.update(failing_since=timezone.now() - PATIENCE)
    fail(sink, happen)
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=1))
    Endpoint.objects.update(failing_since=timezone.now() - timedelta(minutes=30))
    look()
    work_off(ahead=DAY)
    assert {one.state for one in Delivery.objects.filter(channel="webhook")} == {"failed"}
    text = read(postbox.mails[0])[1]
    asked = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in asked] == [
        "PATCH",
        '{"active":',
        "POST",
        '{"since":',
        "GET",
    ]
    patch, post, get = (step.partition(limits.SITE_URL)[2] for step in asked[::2])
    sink.answers = []
    enabled = api.patch(patch, asked[1], content_type="application/json")
    assert enabled.json()["active"]
    again = api.post(post, asked[3], content_type="application/json")
    assert (again.status_code, again.json()["deliveries"]) == (202, 2)
    work_off()
    assert {one.state for one in Delivery.objects.all()} == {"delivered"}
    assert api.get(get).status_code == 200


@pytest.mark.parametrize(
    ("own", "staff", "house", "to"),
    [
        ("owner@example.com", ["ann@example.com"], "hello@example.com", ["owner@example.com"]),
        (None, ["ann@example.com", "bo@example.com"], "hello@example.com", ["ann@", "bo@"]),
        (None, [], "hello@example.com", ["hello@example.com"]),
        (None, [], "", []),
    ],
)
def test_it_goes_to_the_clients_own_address_or_the_staffs_or_the_shops(
    endpoint: Endpoint, own: str | None, staff: list[str], house: str, to: list[str], settings: Any
) -> None:
    settings.REPORT_EMAILS, settings.SHOP = staff, {**limits.SHOP, "reply_to": house}
    Shop.objects.change(endpoint.owner, {"reply_to": own})
    Endpoint.objects.update(failing_since=timezone.now() - PATIENCE * 0.6)
    with transaction.atomic():
        warn_owners.run()
    mails = Delivery.objects.order_by("target").values_list("target", flat=True)
    assert [target[: len(beginning)] for target, beginning in zip(mails, to, strict=True)] == to
    assert Event.objects.count() == bool(to), "no event that nobody is told of"
    assert [one.target for one in troubles()] == [str(endpoint.pk)], "the staff is told anyway"
