"""Who is told, once each, over real HTTP and SMTP."""

import email
import email.policy
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications import events
from notifications.mail.message import render
from notifications.models import Attempt, Delivery, Endpoint, Event, Shop
from notifications.tasks import announce, note_untold
from orders.inputs.order import EXAMPLE, OrderInput
from orders.models import Client
from tests.doubles.edges import Postbox, WebhookSink, read
from tests.machine.ports import free_port
from tests.postgres.hands import Hand
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
OWNER = UUID(int=7)
Recorded = Callable[..., UUID]
MONEY = {  # what a cancelled order's mail says of it, one of these
    "en": (
        "Nothing was charged.",
        "if a payment still",
        "What you paid, ¥98,000, goes back to you.",
        "Of the ¥98,000 that you paid, ¥30,000 goes back to you.",
        "Of the ¥98,000 that you paid, nothing is paid back.",
    ),
    "ja": (
        "お支払いはいただいておりません。",
        "もしお支払い",
        "お支払いいただいた ¥98,000 は、全額ご返金いたします。",
        "お支払いいただいた ¥98,000 のうち、¥30,000 をご返金いたします。",
        "お支払いいただいた ¥98,000 について、ご返金はございません。",
    ),
}
LINE = {"position": 0, "name": "鮭", "quantity": 2, "unit_price": 49000, "discount": 0, "tax": 0}
UNCHARGED, UNSETTLED, WHOLE, PART, NOTHING = range(5)


@pytest.fixture(autouse=True)
def endpoints_need_no_rest(settings: Any) -> None:
    """Time does not pass in `work_off`, so nobody would wake up."""
    settings.ENDPOINT_REST_S = 0.0


@pytest.fixture
def recorded() -> Recorded:
    def record(
        kind: str = "order.confirmed", seq: int = 1, subject: UUID | None = None, **changes: Any
    ) -> UUID:
        subject = subject or uuid4()
        order = {
            "number": "K7QM-3XH9",
            "email": "hana@example.com",
            "locale": "ja",
            "currency": "JPY",
            "total": 98000,
            "lines": [LINE],
            "links": {"status_page": "/o/x/"},
            "reason": None,
            **changes,
        }
        with transaction.atomic():
            events.record(kind, subject=subject, seq=seq, owner=OWNER, data={"order": order})
        return subject

    return record


def listen(url: str, *kinds: str, owner: UUID = OWNER) -> Endpoint:
    return Endpoint.objects.create(owner=owner, url=url, events=list(kinds) or ["*"])


# --- webhooks -------------------------------------------------------------------------------------


def test_a_webhook_is_signed_so_that_the_standard_library_verifies_it(
    recorded: Recorded, sink: WebhookSink
) -> None:
    endpoint = listen(sink.url)
    recorded()
    work_off()
    [(headers, body)] = sink.heard
    content = Webhook(endpoint.secret).verify(body, headers)
    assert (content["type"], content["data"]["order"]["number"]) == ("order.confirmed", "K7QM-3XH9")
    assert headers["webhook-id"] == str(Delivery.objects.get(channel="webhook").pk)
    with pytest.raises(WebhookVerificationError):
        Webhook(listen(sink.url).secret).verify(body, headers)


def test_every_try_has_the_same_id_and_the_same_bytes(
    recorded: Recorded, sink: WebhookSink
) -> None:
    sink.answers = [500, 302, 429]
    listen(sink.url)
    recorded()
    work_off(ahead=DAY)
    assert len({headers["webhook-id"] for headers, _ in sink.heard}) == 1
    assert len({body for _, body in sink.heard}) == 1
    delivery = Delivery.objects.get(channel="webhook")
    assert (delivery.state, delivery.tries) == ("delivered", 4)
    answers = list(
        Attempt.objects.filter(delivery=delivery).order_by("pk").values_list("ok", "answer")
    )
    assert answers == [
        (False, "answered 500"),
        (False, "answered 302"),
        (False, "answered 429"),
        (True, "answered 200"),
    ]


def test_tries_are_spaced_out_and_end(recorded: Recorded, sink: WebhookSink, settings: Any) -> None:
    sink.answers = [500] * 100
    listen(sink.url)
    recorded()
    work_off(ahead=DAY)
    assert len(sink.heard) == settings.DELIVERY_MAX_TRIES
    assert Delivery.objects.get(channel="webhook").state == "failed"


def test_an_endpoint_hears_its_owners_events_of_its_kinds_only(
    recorded: Recorded, sink: WebhookSink
) -> None:
    listen(sink.url, "order.cancelled")
    listen(sink.url, "*", owner=UUID(int=8))
    listen(sink.url, "order.received", "order.confirmed")
    recorded()
    work_off()
    assert len(sink.heard) == 1


def test_an_event_is_told_in_its_own_transaction_by_one_statement_and_its_jobs_by_another(
    recorded: Recorded,
) -> None:
    endpoints = {str(listen(f"https://example.com/{number}").pk) for number in range(3)}
    with CaptureQueriesContext(connection) as captured:
        recorded()
    assert [query["sql"].split()[0] for query in captured] == ["BEGIN", "WITH", "INSERT", "COMMIT"]
    event = Event.objects.get()
    by_target = {delivery.target: delivery for delivery in Delivery.objects.all()}
    assert set(by_target) == {"hana@example.com", *endpoints}
    assert all(str(delivery.pk)[:23] == str(event.pk)[:23] for delivery in by_target.values())
    assert all(delivery.pk.version == 7 for delivery in by_target.values())
    jobs = {delivery.job for delivery in by_target.values()}
    assert {job.pk for job in Job.objects.all()} == jobs


def test_an_event_that_is_rolled_back_is_told_to_nobody(recorded: Recorded) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        recorded()
        raise ZeroDivisionError
    assert (Event.objects.count(), Delivery.objects.count(), Job.objects.count()) == (0, 0, 0)


def test_the_event_of_an_endpoint_in_trouble_does_not_wait_for_its_line(
    recorded: Recorded, one: Hand, settings: Any
) -> None:
    """Whoever tries to reach it holds its row."""
    endpoint = listen("https://example.com/")
    Endpoint.objects.update(failures=settings.ENDPOINT_FAILURES_MAX)
    with transaction.atomic():
        Endpoint.objects.locked(endpoint.pk)
        one.do(recorded)
    assert sorted(Job.objects.values_list("task", flat=True)) == [
        "notifications.tasks.line_up",
        "notifications.tasks.send_mail",
    ]


# --- jobs of a release that announced an event after its transaction ------------------------------


@pytest.fixture
def untold() -> Event:
    """As such a release wrote it."""
    order = {"number": "K7QM-3XH9", "email": "hana@example.com", "locale": "ja", "currency": "JPY"}
    data = {"order": {**order, "total": 1, "lines": [], "links": {"status_page": "/o/x/"}}}
    return Event.objects.create(
        kind="order.confirmed", subject=uuid4(), seq=1, owner=OWNER, data=data
    )


def test_an_old_announcement_that_still_waits_tells_once(
    untold: Event, sink: WebhookSink, postbox: Postbox
) -> None:
    listen(sink.url)
    for _ in range(2):
        announce.delay(str(untold.pk))
        work_off()
    assert (len(sink.heard), len(postbox.mails), Delivery.objects.count()) == (1, 1, 2)


def test_an_old_announcement_of_an_event_that_was_told_tells_nobody(
    recorded: Recorded, sink: WebhookSink, postbox: Postbox
) -> None:
    listen(sink.url)
    recorded()
    announce.delay(str(Event.objects.get().pk))
    work_off()
    assert (len(sink.heard), len(postbox.mails), Delivery.objects.count()) == (1, 1, 2)


def test_an_old_announcement_that_died_leaves_deliveries_that_can_be_sent_again(
    untold: Event, sink: WebhookSink
) -> None:
    listen(sink.url)
    note_untold.delay(str(untold.pk))
    work_off()
    assert set(Delivery.objects.values_list("channel", "state")) == {
        ("mail", "failed"),
        ("webhook", "failed"),
    }
    assert sink.heard == []


# --- and then -------------------------------------------------------------------------------------


def test_a_removed_endpoint_is_no_longer_called(recorded: Recorded, sink: WebhookSink) -> None:
    sink.answers = [500] * 100
    endpoint = listen(sink.url)
    recorded()
    work_off()
    heard = len(sink.heard)
    Endpoint.objects.filter(pk=endpoint.pk).update(active=False)
    work_off(ahead=DAY)
    assert len(sink.heard) == heard
    assert Delivery.objects.get(channel="webhook").state == "failed"


def test_an_address_inside_the_network_is_not_called_even_through_a_name(
    recorded: Recorded, sink: WebhookSink, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = False
    listen(sink.url.replace("127.0.0.1", "localhost"))
    recorded()
    work_off()
    assert sink.heard == []
    answers = set(Attempt.objects.filter(delivery__channel="webhook").values_list("ok", "answer"))
    assert len(answers) == 1
    [(ok, answer)] = answers
    assert (ok, answer) == (False, "its host has no public address"), (
        "what it resolves to is told to nobody"
    )


# --- mail -----------------------------------------------------------------------------------------


def test_the_customer_gets_a_mail_in_their_language(recorded: Recorded, postbox: Postbox) -> None:
    recorded()
    recorded(locale="en-GB", email="ann@example.com")
    recorded(locale="fr", email="anne@example.com")
    work_off()
    content = {mail["To"]: (mail["Subject"], text) for mail, text, _ in map(read, postbox.mails)}
    assert content["hana@example.com"][0] == "ご注文 K7QM-3XH9 が確定しました"
    assert "¥98,000" in content["hana@example.com"][1]
    assert (
        content["ann@example.com"][0]
        == content["anne@example.com"][0]
        == "Your order K7QM-3XH9 is confirmed"
    )


def test_a_refused_mail_is_tried_again_under_the_same_message_id(
    recorded: Recorded, postbox: Postbox
) -> None:
    postbox.refusals = 2
    recorded()
    work_off(ahead=DAY)
    [raw] = postbox.mails
    delivery = Delivery.objects.get()
    assert email.message_from_bytes(raw)["Message-ID"] == f"<{delivery.pk}@localhost>"
    assert (delivery.state, delivery.tries) == ("delivered", 3)


@pytest.mark.parametrize(
    ("kind", "mails"),
    [
        ("order.received", 1),
        ("order.reserved", 0),
        ("order.confirmed", 1),
        ("order.completed", 0),
        ("order.cancelled", 1),
        ("order.held", 0),
    ],
)
def test_a_customer_is_mailed_about_what_concerns_them(
    recorded: Recorded, postbox: Postbox, kind: str, mails: int
) -> None:
    recorded(kind)
    work_off()
    assert len(postbox.mails) == mails


SOLD_OUT, DECLINED = ("sold out", "売り切れ"), ("declined", "承認され")
LATE, BY_THE_SHOP = ("in time", "期限"), ("The shop cancelled", "お店が")


@pytest.mark.parametrize("locale", ["en", "ja"])
@pytest.mark.parametrize(
    ("reason", "payment_state", "captured", "refunded", "refund_pending", "why", "money"),
    [
        ("out_of_stock", "none", 0, 0, 0, SOLD_OUT, UNCHARGED),
        ("out_of_stock", "paid", 98000, 0, 98000, SOLD_OUT, WHOLE),
        ("payment_declined", "failed", 0, 0, 0, DECLINED, UNCHARGED),
        ("expired", "pending", 0, 0, 0, LATE, UNSETTLED),
        ("expired", "action_required", 0, 0, 0, LATE, UNSETTLED),
        ("expired", "paid", 98000, 0, 98000, BY_THE_SHOP, WHOLE),
        ("payment_declined", "paid", 98000, 0, 98000, BY_THE_SHOP, WHOLE),
        ("requested", "paid", 98000, 0, 98000, BY_THE_SHOP, WHOLE),
        ("requested", "partially_refunded", 98000, 90000, 8000, BY_THE_SHOP, WHOLE),
        ("requested", "refunded", 98000, 98000, 0, BY_THE_SHOP, WHOLE),
        ("refunded", "paid", 98000, 0, 30000, BY_THE_SHOP, PART),
        ("refunded", "partially_refunded", 98000, 10000, 20000, BY_THE_SHOP, PART),
        ("refunded", "partially_refunded", 98000, 30000, 0, BY_THE_SHOP, PART),
        ("refunded", "paid", 98000, 0, 0, BY_THE_SHOP, NOTHING),
    ],
)
def test_a_cancelled_orders_mail_says_why_and_what_becomes_of_the_money(
    recorded: Recorded,
    locale: str,
    reason: str,
    payment_state: str,
    captured: int,
    refunded: int,
    refund_pending: int,
    why: tuple[str, str],
    money: int,
) -> None:
    """Reasons are the client's own words too: one that has been paid may be called out of stock."""
    recorded(
        "order.cancelled",
        locale=locale,
        reason=reason,
        payment_state=payment_state,
        captured=captured,
        refunded=refunded,
        refund_pending=refund_pending,
    )
    _, text, *_ = render(Event.objects.get(), Shop.objects.of(OWNER))
    assert why[locale == "ja"] in text
    named = [position for position, phrase in enumerate(MONEY[locale]) if phrase in text]
    assert named == [money], text


@pytest.mark.parametrize(
    ("locale", "rest", "money"),
    [
        ("en", "This is not sent:\n\n  鮪 × 1\n", PART),
        ("ja", "次のお品物は発送いたしません。\n\n  鮪 × 1\n", PART),
    ],
)
def test_who_gets_a_part_is_told_of_the_rest_and_of_its_money(
    recorded: Recorded, locale: str, rest: str, money: int
) -> None:
    lines = [LINE | {"withdrawn": 0}, LINE | {"name": "鮪", "quantity": 3, "withdrawn": 1}]
    amounts = {"captured": 98000, "refunded": 0, "refund_pending": 30000, "payment_state": "paid"}
    recorded("order.completed", locale=locale, lines=lines, reason="no time", **amounts)
    assert Delivery.objects.get().target == "hana@example.com"
    subject, text, *_ = render(Event.objects.get(), Shop.objects.of(OWNER))
    assert "K7QM-3XH9" in subject
    assert rest in text
    named = [position for position, phrase in enumerate(MONEY[locale]) if phrase in text]
    assert named == [money], text


@pytest.mark.parametrize(
    ("kind", "locale", "phrase"),
    [
        ("order.received", "en", "take the payment"),
        ("order.received", "ja", "お支払い"),
        ("order.confirmed", "en", "It is paid"),
        ("order.confirmed", "ja", "お支払い ¥98,000 を確認"),
    ],
)
@pytest.mark.parametrize("total", [98000, 0])
def test_a_mail_speaks_of_a_payment_only_where_there_is_one(
    recorded: Recorded, kind: str, locale: str, phrase: str, total: int
) -> None:
    recorded(kind, locale=locale, total=total)
    assert (phrase in render(Event.objects.get(), Shop.objects.of(OWNER))[1]) == bool(total)


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("hans@stra\u00dfe.de", "hans@xn--strae-oqa.de"),  # and not strasse.de
        ("nikos@\u03c2.gr", "nikos@xn--3xa.gr"),
        ("da..me@docomo.ne.jp", '"da..me"@docomo.ne.jp'),
        ("da.me.@docomo.ne.jp", '"da.me."@docomo.ne.jp'),
    ],
)
def test_a_mail_goes_to_the_address_that_was_checked(
    recorded: Recorded, postbox: Postbox, settings: Any, address: str, envelope: str
) -> None:
    settings.DEFAULT_FROM_EMAIL = "shop@stra\u00dfe.de"
    settings.SHOP = {**settings.SHOP, "name": "Stra\u00dfe"}
    recorded(email=OrderInput.model_validate(EXAMPLE | {"email": address}).email)
    work_off()
    assert postbox.recipients == [f"to:<{envelope}>"]
    mail = email.message_from_bytes(postbox.mails[0], policy=email.policy.default)
    assert f"\r\nTo: {envelope}\r\n".encode() in postbox.mails[0]
    assert mail["From"] == "Stra\u00dfe <shop@xn--strae-oqa.de>"
    assert mail["Message-ID"].endswith("@xn--strae-oqa.de>")


def test_a_name_cannot_add_headers_or_markup(recorded: Recorded, postbox: Postbox) -> None:
    recorded(lines=[LINE | {"name": "<b>\r\n\r\n<i>\nBcc: all@example.com"}])
    work_off()
    mail, text, html = read(postbox.mails[0])
    assert mail["Bcc"] is None
    assert "  <b> <i> Bcc: all@example.com × 2  ¥98,000\n" in text
    assert ("<b>" in html, "&lt;b&gt; &lt;i&gt; Bcc: all@example.com</td>" in html) == (False, True)


# --- events ---------------------------------------------------------------------------------------


def test_an_address_that_no_mail_can_go_to_is_named_and_given_up(
    recorded: Recorded, postbox: Postbox
) -> None:
    recorded(email="\u82b1@example.com")
    work_off(ahead=DAY)
    assert (Delivery.objects.get().state, postbox.mails) == ("failed", [])
    first = Attempt.objects.first()
    assert first is not None
    assert "no mail can go to what stands before its @" in first.answer


def test_an_event_has_its_place_in_the_life_of_its_subject_once(recorded: Recorded) -> None:
    subject = recorded()
    with pytest.raises(IntegrityError, match="event_seq_once"):
        recorded(subject=subject)
    assert (Event.objects.count(), Job.objects.count()) == (1, 1)


def test_an_unknown_kind_is_refused(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match=r"order\.eaten"):
        recorded("order.eaten")


def test_the_body_says_when_what_and_to_whom(recorded: Recorded, sink: WebhookSink) -> None:
    listen(sink.url)
    recorded()
    work_off()
    content = json.loads(sink.heard[0][1])
    assert set(content) == {"type", "timestamp", "data"}
    assert content["timestamp"].endswith("+00:00")


@pytest.mark.soak
def test_an_endpoint_that_hangs_is_left_alone_while_other_events_wait(
    recorded: Recorded, sink: WebhookSink, settings: Any
) -> None:
    """Else one client's server would hold every worker, for everybody."""
    settings.ENDPOINT_REST_S, settings.ENDPOINT_FAILURES_MAX = 60.0, 1
    sink.answers = [500]
    endpoint = listen(sink.url)
    for _ in range(5):
        recorded()
    work_off()
    assert len(sink.heard) == 1
    assert Job.objects.filter(task="notifications.tasks.post_webhook", state="waiting").count() == 5
    Endpoint.objects.update(resting_until=timezone.now())
    endpoint.refresh_from_db()
    assert [Endpoint.objects.take_turn(endpoint) > 0 for _ in range(3)] == [False, True, True]
    Endpoint.objects.update(resting_until=timezone.now())
    work_off(ahead=DAY)
    assert (
        len(sink.heard),
        Delivery.objects.filter(channel="webhook", state="delivered").count(),
    ) == (6, 5)


def test_deliveries_stand_in_line_for_an_endpoint_in_trouble_and_one_at_a_time_is_tried(
    recorded: Recorded, sink: WebhookSink, settings: Any
) -> None:
    """A place for each rest: what waits costs nothing, however much it is."""
    settings.ENDPOINT_REST_S, settings.ENDPOINT_FAILURES_MAX = 60.0, 1
    sink.answers = [500]
    endpoint = listen(sink.url)
    recorded()
    work_off()
    endpoint.refresh_from_db()
    jobs = Job.objects.filter(task="notifications.tasks.post_webhook").order_by("due_at")
    assert endpoint.resting_until is not None
    # so that it is not tried again meanwhile
    jobs.update(due_at=endpoint.resting_until - timedelta(seconds=1))
    began = timezone.now()
    for _ in range(20):
        recorded()
    work_off()
    assert list(jobs.values_list("attempts", flat=True)) == [1, *[0] * 20], "nobody came in vain"
    places = [(job.due_at - began).total_seconds() for job in jobs[1:]]
    assert all(later - earlier >= 29 for earlier, later in pairwise(places)), places
    endpoint.refresh_from_db()
    assert places[0] == pytest.approx((endpoint.resting_until - began).total_seconds(), abs=5)
    assert list(
        Delivery.objects.filter(channel="webhook").values_list("job").order_by("job")
    ) == list(jobs.values_list("pk").order_by("pk"))


def test_when_an_endpoint_answers_again_its_line_is_called_up_in_the_bulk_queue(
    recorded: Recorded, sink: WebhookSink, settings: Any
) -> None:
    settings.ENDPOINT_REST_S, settings.BATCH_ROWS = 60.0, 2
    settings.ENDPOINT_FAILURES_MAX = 1
    sink.answers = [500]
    endpoint = listen(sink.url)
    for _ in range(6):
        recorded()
    work_off()
    Endpoint.objects.update(resting_until=timezone.now())
    waiting = Job.objects.filter(task="notifications.tasks.post_webhook", state="waiting")
    waiting.filter(pk=waiting.order_by("-due_at")[:1].values("pk")).update(due_at=timezone.now())
    work_off()  # the probe
    assert (len(sink.heard), waiting.filter(queue=ledger_settings.BULK_QUEUE).count()) == (4, 0), (
        "the line came at once"
    )
    work_off(ahead=timedelta(seconds=5))  # the rest of it, some at a time
    assert (len(sink.heard), waiting.count()) == (7, 0)
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.line_until) == (0, None)


@pytest.mark.parametrize(("answers_s", "failures", "quick"), [(0.0, 0, True), (0.3, 5, False)])
def test_a_slow_answer_is_taken_and_counts_as_trouble(
    recorded: Recorded,
    sink: WebhookSink,
    settings: Any,
    answers_s: float,
    failures: int,
    quick: bool,
) -> None:
    settings.WEBHOOK_QUICK_S, settings.ENDPOINT_REST_S = 0.2, 60.0
    sink.answers_after_s = answers_s
    endpoint = listen(sink.url)
    recorded()
    work_off()
    assert Delivery.objects.get(endpoint=endpoint).state == "delivered"
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.quick, endpoint.busy_until) == (failures, quick, None)
    recorded()
    work_off()
    assert len(sink.heard) == (2 if quick else 1), "after a slow answer it rests"


def test_an_endpoint_that_is_slow_time_and_again_rests_no_longer_each_time(
    recorded: Recorded, settings: Any
) -> None:
    settings.ENDPOINT_REST_S = 60.0
    endpoint = listen("http://127.0.0.1:9/")
    for _ in range(4):
        Endpoint.objects.answered(endpoint.pk, after_s=4.5)
    endpoint.refresh_from_db()
    assert endpoint.failures == settings.ENDPOINT_FAILURES_MAX
    assert endpoint.resting_until is not None
    assert endpoint.resting_until < timezone.now() + timedelta(seconds=61)


def turns_at_once(endpoints: list[Endpoint]) -> int:
    """How many of them may be called, when all ask at the same moment."""
    together = threading.Barrier(len(endpoints))

    def ask(endpoint: Endpoint) -> bool:
        try:
            together.wait(timeout=10)
            return Endpoint.objects.take_turn(endpoint) == 0.0
        finally:
            connection.close()

    with ThreadPoolExecutor(len(endpoints)) as pool:
        return sum(pool.map(ask, endpoints))


def test_so_many_calls_at_a_time_are_made_to_the_endpoints_of_a_client_that_are_not_quick(
    settings: Any,
) -> None:
    settings.WEBHOOK_SLOW_CALLS_PER_CLIENT = 3
    mine = [listen(f"http://127.0.0.1:{port}/") for port in range(1, 11)]
    theirs = listen("http://127.0.0.1:11/", owner=UUID(int=8))
    assert turns_at_once(mine) == 3
    assert Endpoint.objects.take_turn(theirs) == 0.0, "another client's are called"
    # whoever called has died
    Endpoint.objects.filter(busy_until__isnull=False).update(busy_until=timezone.now())
    assert turns_at_once([mine[0]] * 5) == 1, "and one endpoint once at a time"


def test_a_quick_one_is_called_any_number_of_times_at_once() -> None:
    endpoint = listen("http://127.0.0.1:1/")
    Endpoint.objects.answered(endpoint.pk, after_s=0.01)
    endpoint.refresh_from_db()
    assert turns_at_once([endpoint] * 6) == 6


def test_nobody_stands_in_line_for_longer_than_a_delivery_is_tried(
    recorded: Recorded, sink: WebhookSink, settings: Any
) -> None:
    sink.answers = [500] * 10
    endpoint = listen(sink.url)
    Endpoint.objects.update(
        failures=9, resting_until=timezone.now() + DAY, line_until=timezone.now() + 90 * DAY
    )
    recorded()
    work_off()
    [job] = Job.objects.filter(task="notifications.tasks.post_webhook")
    assert job.due_at <= timezone.now() + settings.DELIVERY_MAX_AGE
    Delivery.objects.update(created_at=timezone.now() - 3 * DAY)
    work_off(ahead=3 * DAY)
    assert (sink.heard, Delivery.objects.get(endpoint=endpoint).state) == ([], "failed")


def test_a_moment_of_trouble_is_forgiven_with_a_new_url(
    recorded: Recorded, sink: WebhookSink, settings: Any, api: Api, shop: Client
) -> None:
    settings.ENDPOINT_REST_S, settings.WEBHOOK_ALLOW_LOCAL = 60.0, True
    settings.ENDPOINT_FAILURES_MAX = 1
    endpoint = listen(f"http://127.0.0.1:{free_port()}/")
    recorded()
    work_off()
    Endpoint.objects.update(owner=shop.pk)
    assert sink.heard == []
    answer = api.patch(
        f"/v1/webhook-endpoints/{endpoint.pk}", {"url": sink.url}, content_type="application/json"
    )
    assert answer.status_code == 200
    work_off()
    assert (len(sink.heard), Delivery.objects.get(endpoint=endpoint).state) == (1, "delivered")


def test_a_delivery_too_old_is_given_up(recorded: Recorded, sink: WebhookSink) -> None:
    listen(sink.url)
    recorded()
    Delivery.objects.update(created_at=timezone.now() - 3 * DAY)
    work_off()
    assert (sink.heard, Delivery.objects.get(channel="webhook").state) == ([], "failed")


def test_a_try_that_takes_too_long_is_noted_and_tried_again(
    recorded: Recorded, sink: WebhookSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = listen(sink.url)
    recorded()
    monkeypatch.setattr("notifications.webhooks.call._post", raise_soft_time_limit)
    work_off()
    assert set(
        Attempt.objects.filter(delivery__endpoint=endpoint).values_list("ok", flat=True)
    ) == {False}
    monkeypatch.undo()
    work_off(ahead=DAY)
    assert Delivery.objects.get(endpoint=endpoint).state == "delivered"


def raise_soft_time_limit(*_: Any) -> None:
    raise SoftTimeLimitExceeded
