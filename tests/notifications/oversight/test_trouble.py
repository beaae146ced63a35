"""What does not arrive is told wherever a person looks, and is sent again by one command."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from config import doctor
from notifications import events, interventions
from notifications.models import Alert, Attempt, Delivery, Endpoint, Event
from notifications.oversight import metrics
from notifications.oversight.audit import DELIVERIES
from notifications.oversight.tasks import tell_of_trouble
from orders.audit import broken
from orders.models import Client
from tests.doubles.edges import Postbox, WebhookSink
from tests.postgres.hands import Hand

pytestmark = pytest.mark.django_db(transaction=True)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Happen = Callable[..., None]


@pytest.fixture(autouse=True)
def endpoints_need_no_rest(settings: Any) -> None:
    """Time does not pass in `work_off`, so nobody would wake up."""
    settings.ENDPOINT_REST_S, settings.WEBHOOK_ALLOW_LOCAL = 0.0, True


@pytest.fixture
def happen(shop: Client) -> Happen:
    order = {"number": "K7QM-3XH9", "locale": "en", "currency": "JPY", "total": 1, "lines": []}
    links = {"links": {"status_page": "/o/x/"}}

    def record(kind: str = "order.held", *, times: int = 1, email: str = "") -> None:
        mailed = {"email": email} if email else {}
        for _ in range(times):
            data = {"order": order | links | mailed}
            with transaction.atomic():
                events.record(kind, subject=uuid4(), seq=1, owner=shop.pk, data=data)

    return record


@pytest.fixture
def endpoint(shop: Client, sink: WebhookSink) -> Endpoint:
    return Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True)


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the task that tells says in the log as an error, when it runs now."""

    def look() -> list[str]:
        caplog.clear()
        tell_of_trouble.delay()
        work_off()
        return [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]

    with caplog.at_level(logging.ERROR):
        yield look


def deliveries(*words: str) -> list[str]:
    output = StringIO()
    call_command("deliveries", *words, stdout=output)
    return output.getvalue().splitlines()


def states(**narrowed: Any) -> list[str]:
    return sorted(Delivery.objects.filter(**narrowed).values_list("state", flat=True))


def audited_but_trouble() -> list[str]:
    return [one for one in broken(DELIVERIES, limit=9) if "given up" not in one]


def numbers() -> dict[tuple[str, ...], float]:
    """What /metrics says of it, where it is not zero."""
    [family] = [one for one in metrics.families() if one.name == "kaiten_deliveries_in_trouble"]
    return {tuple(one.labels.values()): one.value for one in family.samples if one.value}


def test_a_mail_server_that_refuses_is_told_everywhere_and_its_mails_go_out_later(
    happen: Happen, postbox: Postbox, errors: Callable[[], list[str]], settings: Any
) -> None:
    """A wrong password over a weekend: once nothing anywhere said so."""
    settings.REPORT_EMAILS = ["ann@example.com"]
    assert (doctor.deliveries().is_wrong, errors(), numbers()) == (False, [], {})
    postbox.refusals = 100
    happen("order.confirmed", times=2, email="hana@example.com")
    work_off(ahead=DAY)
    assert states() == ["failed"] * 2
    finding = doctor.deliveries()
    assert finding.is_wrong
    assert "mail: 2 given up, the last answer: SMTPDataError: (451" in finding.sentence
    assert list(broken(DELIVERIES, limit=9)) == [
        "mail mail: given up in the last days 2, and overdue 0"
    ]
    assert numbers() == {("mail", "given_up"): 2, ("mail", "targets"): 1}
    [error] = errors()
    assert error.startswith("Not delivered: mail: 2 given up, the last answer:")
    assert "hana@" not in error
    assert errors() == [], "once an hour"
    assert not Event.objects.filter(kind="deliveries.failing").exists(), "it would not arrive"

    postbox.refusals = 0
    asked = ("retry", "--since", "4d", "--channel", "mail")
    assert deliveries(*asked, "--dry-run")[-1] == "Deliveries that would be sent again: 2."
    assert states() == ["failed"] * 2
    for again in (2, 0):  # asking twice does no harm
        assert deliveries(*asked)[-1].endswith(f"in the bulk queue: {again}.")
    assert audited_but_trouble() == []
    work_off()
    assert (states(), len(postbox.mails)) == (["delivered"] * 2, 2)
    assert (doctor.deliveries().is_wrong, errors(), Alert.objects.count()) == (False, [], 0)


def test_a_failing_endpoint_is_told_once_an_hour_and_mailed_to_the_staff_once_a_day(
    happen: Happen,
    endpoint: Endpoint,
    sink: WebhookSink,
    postbox: Postbox,
    errors: Callable[[], list[str]],
    settings: Any,
) -> None:
    settings.REPORT_EMAILS = ["ann@example.com"]
    sink.answers = [500] * 99
    happen(times=3)
    work_off()
    Delivery.objects.update(created_at=timezone.now() - HOUR)
    assert "3 overdue" in doctor.deliveries().sentence
    assert numbers() == {("webhook", "overdue"): 3, ("webhook", "targets"): 1}
    [error] = errors()
    assert str(endpoint.pk) in error
    assert "3 overdue, the last answer: answered 500" in error
    assert b"answered 500" in postbox.mails[0]
    assert errors() == []
    Alert.objects.update(told_at=timezone.now() - HOUR)
    work_off(ahead=DAY)
    Alert.objects.update(told_at=timezone.now() - HOUR)
    assert "3 given up" in errors()[0]
    assert len(postbox.mails) == 1, "one a day"
    Alert.objects.update(told_at=timezone.now() - 2 * HOUR)
    Attempt.objects.update(at=timezone.now() - 3 * HOUR)
    Delivery.objects.update(created_at=timezone.now() - DAY)
    Endpoint.objects.update(failing_since=timezone.now() - DAY)
    assert errors() == [], "no news"


def test_an_endpoint_that_disables_itself_is_told_with_its_reason(
    happen: Happen, endpoint: Endpoint, sink: WebhookSink, errors: Callable[[], list[str]]
) -> None:
    sink.answers = [410]
    happen()
    work_off()
    assert "1 given up, disabled: gone, the last answer: answered 410" in errors()[0]
    assert "disabled: gone" in doctor.deliveries().sentence


def test_what_nobody_waits_for_is_no_trouble(
    happen: Happen, endpoint: Endpoint, sink: WebhookSink
) -> None:
    sink.answers = [500] * 99
    with transaction.atomic():
        interventions.test(endpoint.pk)
    work_off()
    assert not doctor.deliveries().is_wrong, "a test"
    happen(email="hana@example.com")
    Delivery.objects.filter(channel="mail").update(state="failed", target="")
    assert not doctor.deliveries().is_wrong, "somebody who wants to be forgotten"
    work_off(ahead=DAY)
    assert doctor.deliveries().is_wrong
    Endpoint.objects.update(active=False)
    assert not doctor.deliveries().is_wrong, "a removed endpoint"
    Endpoint.objects.update(active=True)
    Delivery.objects.filter(channel="mail").update(target="hana@example.com")
    assert doctor.deliveries().is_wrong
    ended = {"state": "cancelled", "finished_at": timezone.now(), "lease_until": None}
    Job.objects.filter(pk__in=Delivery.objects.values("job")).update(**ended)
    assert not doctor.deliveries().is_wrong, "what its owner has cancelled"


# --- sending again --------------------------------------------------------------------------------


def test_what_is_sent_again_is_chosen_by_time_kind_target_and_channel(
    happen: Happen, endpoint: Endpoint, sink: WebhookSink, postbox: Postbox
) -> None:
    happen("order.confirmed", email="hana@example.com")
    happen("order.confirmed", email="ann@example.com")
    happen("order.held", times=2)
    Delivery.objects.update(state="failed")
    Job.objects.all().delete()

    def counted(*words: str) -> int:
        last = deliveries("retry", "--dry-run", "--since", "1h", *words)[-1]
        return int(last.rpartition(" ")[2].rstrip("."))

    assert counted() == 6
    assert counted("--channel", "mail") == 2
    assert counted("--kind", "order.held") == 2
    assert counted("--target", "ann@example.com") == 1
    assert counted("--target", sink.url) == counted("--target", str(endpoint.pk)) == 4
    assert counted("--until", "30m") == 0
    Endpoint.objects.update(disabled_at=timezone.now(), disabled_because="gone")
    assert counted() == 2, "one that is disabled would not be called"
    with pytest.raises(CommandError, match=r"There is no event order\.eaten"):
        counted("--kind", "order.eaten")
    with pytest.raises(CommandError, match="is no time"):
        deliveries("retry", "--since", "yesterday")
    for ever in ("999999d", "0001-01-01", "0001-01-01T00:00:00+14:00"):
        assert counted("--since", ever) == 2, ever
    assert counted("--until", "9999-12-31T23:59:59-14:00") == 2
    assert counted("--since", "9999-12-31T23:59:59-14:00") == 0


def test_any_number_is_sent_again_in_batches_each_once(
    happen: Happen, endpoint: Endpoint, sink: WebhookSink, settings: Any
) -> None:
    settings.WEBHOOK_REPLAY_MAX, settings.BATCH_ROWS = 3, 2
    happen(times=7)
    Delivery.objects.update(state="failed")
    Job.objects.all().delete()
    assert deliveries("retry", "--since", "1h")[-1].endswith(": 7.")
    assert Job.objects.filter(task="notifications.tasks.resend").count() == 3
    assert Delivery.objects.filter(resend=True).count() == 7, "nothing is sent before its job"
    work_off(ahead=timedelta(seconds=5))
    assert (states(), len(sink.heard)) == (["delivered"] * 7, 7)


def test_two_who_ask_for_the_same_at_once_have_it_sent_once(
    happen: Happen, postbox: Postbox, one: Hand
) -> None:
    happen("order.confirmed", times=3, email="hana@example.com")
    Delivery.objects.update(state="failed")
    Job.objects.all().delete()

    def ask() -> int:
        chosen = Delivery.objects.retryable(since=timezone.now() - HOUR)
        with transaction.atomic():
            return interventions.send_again(chosen, None)[0]

    with transaction.atomic():
        mine = ask()
        theirs = one.begin(ask)
        one.wait_until_blocked()
    assert (mine, theirs.result(timeout=10)) == (3, 0)
    work_off()
    assert len(postbox.mails) == 3


def test_one_delivery_tells_its_tries(
    happen: Happen, endpoint: Endpoint, sink: WebhookSink
) -> None:
    sink.answers, sink.body = [500], "売切\r\n\x1b[2J".encode()
    happen()
    work_off(ahead=HOUR)
    one = Delivery.objects.get()
    [row] = deliveries("list", "--state", "delivered", "--since", "1h")
    assert row.startswith(f"{one.pk}  ")
    assert row.endswith(f"2 tries  order.held  webhook to {sink.url}")
    output = deliveries("why", str(one.pk))
    tries = [sentence.rpartition("  ")[2] for sentence in output[1:] if " ms: " in sentence]
    first, second = (attempt.duration_ms for attempt in one.attempts.order_by("pk"))
    assert tries == [
        f"did not arrive after {first} ms: answered 500",
        f"arrived after {second} ms: answered 200",
    ]
    assert output.count(f"    > webhook-id: {one.pk}") == 2
    assert output.count("    < 売切 \ufffd[2J") == 2, "nothing that a terminal obeys"
    for unknown in ("x", str(uuid4())):
        with pytest.raises(CommandError, match="no delivery"):
            deliveries("why", unknown)
