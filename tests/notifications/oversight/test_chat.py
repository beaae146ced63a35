"""The staff hears in its chat of what does not arrive: of mails, too, which no mail could tell."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications import events
from notifications.models import Alert, Attempt, Delivery, Endpoint, Event
from notifications.oversight.audit import DELIVERIES
from notifications.oversight.tasks import tell_of_trouble
from notifications.oversight.trouble import troubles
from orders.audit import broken
from orders.models import Client
from tests.doubles.edges import Postbox, WebhookSink, read

pytestmark = pytest.mark.django_db(transaction=True)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Fail = Callable[..., None]


@pytest.fixture(autouse=True)
def chat(sink: WebhookSink, settings: Any) -> WebhookSink:
    settings.WEBHOOK_ALLOW_LOCAL, settings.STAFF_CHAT_URL = True, sink.url
    settings.REPORT_EMAILS = ["ann@example.com"]
    settings.DELIVERY_SECOND_TRY_S = 60.0  # nobody tries again before it is asked to
    return sink


@pytest.fixture
def fail(shop: Client) -> Fail:
    """A delivery that was given up with this answer."""

    def one(answer: str = "answered 503", *, channel: str = "webhook") -> None:
        url = "https://shop.example.com/hooks"
        webhook = channel == "webhook"
        endpoint = Endpoint.objects.create(owner=shop.pk, url=url, events=[]) if webhook else None
        with transaction.atomic():
            events.record("order.held", subject=uuid4(), seq=1, owner=None, data={})
        delivery = Delivery.objects.create(
            event_id=Event.objects.latest("id").pk,
            channel=channel,
            target=str(endpoint.pk) if endpoint else "x",
            endpoint=endpoint,
            state="failed",
            tries=1,
        )
        delivery.attempts.create(ok=False, answer=answer)

    return one


def look() -> None:
    tell_of_trouble.delay()
    work_off()


def audited_but_trouble() -> list[str]:
    return [one for one in broken(DELIVERIES, limit=9) if "given up" not in one]


def texts(chat: WebhookSink) -> list[str]:
    return [json.loads(body)["text"] for _, body in chat.heard]


def test_what_does_not_arrive_is_said_in_chat_and_by_mail_once_a_day(
    chat: WebhookSink, fail: Fail, postbox: Postbox
) -> None:
    fail()
    for _ in range(2):
        look()
        [text] = texts(chat)
        assert "Webhooks to shop.example.com: 1 given up" in text
        assert "answered 503" in text
        assert len(postbox.mails) == 1
    headers, _ = chat.heard[0]
    assert headers["content-type"] == "application/json"
    assert not [name for name in headers if name.startswith("webhook-")]
    assert Delivery.objects.get(channel="chat").state == "delivered"
    Alert.objects.update(told_at=timezone.now() - 2 * DAY, mailed_at=timezone.now() - 2 * DAY)
    look()
    assert (len(texts(chat)), len(postbox.mails)) == (2, 2)


def test_mails_that_do_not_arrive_are_said_in_chat_and_by_no_mail(
    chat: WebhookSink, fail: Fail, postbox: Postbox
) -> None:
    fail("SMTPAuthenticationError: (535, <!channel> & co)", channel="mail")
    look()
    [text] = texts(chat)
    assert "Mails: 1 given up" in text
    assert "&lt;!channel&gt; &amp; co" in text, "nobody's words call the whole channel"
    assert postbox.mails == []
    assert audited_but_trouble() == []


def test_a_chat_that_does_not_answer_is_tried_again_and_told_by_mail(
    chat: WebhookSink, fail: Fail, postbox: Postbox
) -> None:
    fail()
    chat.answers = [500]
    look()
    assert (Delivery.objects.get(channel="chat").state, audited_but_trouble()) == ("waiting", [])
    work_off(ahead=HOUR)
    assert (len(chat.heard), Delivery.objects.get(channel="chat").state) == (2, "delivered")
    chat.answers = [404] * 99
    Alert.objects.all().delete()
    look()
    work_off(ahead=DAY)
    assert "chat: 1 given up, the last answer: answered 404" in map(str, troubles())
    chat.answers = []
    Endpoint.objects.update(active=False)
    heard, mails = len(chat.heard), len(postbox.mails)
    Alert.objects.update(mailed_at=timezone.now() - DAY)
    look()
    assert (len(chat.heard), len(postbox.mails)) == (heard, mails + 1)
    assert "To your chat: 1 given up" in read(postbox.mails[-1])[1]


def test_it_is_called_by_the_rules_of_webhooks(
    chat: WebhookSink, fail: Fail, postbox: Postbox, settings: Any
) -> None:
    """A public address, one deadline, no redirect; and its URL stands nowhere."""
    settings.WEBHOOK_TIMEOUT_S, chat.answers_after_s = 0.2, 0.4
    fail()
    look()
    settings.WEBHOOK_TIMEOUT_S, chat.answers_after_s, chat.answers = 5, 0.0, [302] * 99
    work_off(ahead=timedelta(seconds=70))
    settings.WEBHOOK_ALLOW_LOCAL = False
    work_off(ahead=HOUR)
    settings.STAFF_CHAT_URL = ""
    work_off(ahead=DAY)
    tries = Attempt.objects.filter(delivery__channel="chat").order_by("pk")
    answers = dict.fromkeys(tries.values_list("answer", flat=True))
    assert list(answers) == [
        "took longer than 0.2 s",
        "answered 302",
        "its host has no public address",
        "STAFF_CHAT_URL is not set any more",
    ]
    assert len(chat.heard) == tries.filter(answer__in=list(answers)[:2]).count()
    assert not tries.filter(request_headers__icontains="hooks?shop").exists()
    assert Delivery.objects.get(channel="chat").target == "staff"


def test_a_long_text_is_cut(chat: WebhookSink, fail: Fail, postbox: Postbox) -> None:
    for _ in range(20):
        fail("x" * 500)
    look()
    [text] = texts(chat)
    assert (len(text), text[-1]) == (4000, "…")


def test_without_a_chat_nothing_is_said(
    chat: WebhookSink, fail: Fail, postbox: Postbox, settings: Any
) -> None:
    settings.STAFF_CHAT_URL = ""
    fail(channel="mail")
    look()
    assert (Delivery.objects.filter(channel="chat").count(), chat.heard) == (0, [])


def test_a_channel_is_a_file_and_a_word_where_contributing_says() -> None:
    house = Path(settings.BASE_DIR)
    [row] = re.findall(r"^\| a channel, .*", (house / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    rooms = (house / room for room in ("api", "config", "notifications", "orders"))
    files = [
        path for room in rooms for path in room.rglob("*.py") if "migrations" not in path.parts
    ]
    named = [path for path in files if re.search(r"\bchat\b|CHAT_URL|\.CHAT", path.read_text())]
    assert named
    assert [path for path in named if f"`{path.relative_to(house)}`" not in row] == []
