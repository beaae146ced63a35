"""What a provider of mail reports puts addresses on the list, whatever else it sends."""

import json
from base64 import b64encode
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client as HttpClient

from config.start.boot import CannotStart, require_settings
from notifications.models import Suppression

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "shop:a-long-random-password"
GONE, ANGRY = "nobody@example.com", "angry@example.com"


@pytest.fixture(autouse=True)
def of_postmark(settings: Any) -> None:
    use(settings, "postmark")


def use(settings: Any, provider: str) -> None:
    settings.MAIL_EVENTS, settings.MAIL_EVENTS_SECRET = provider, SECRET
    settings.ANYMAIL = {"WEBHOOK_SECRET": SECRET}


def report(event: Any, provider: str = "postmark", secret: str = SECRET) -> Any:
    """The answer to it; bytes are sent as they are."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    headers = {"authorization": f"Basic {b64encode(secret.encode()).decode()}"}
    path = f"/anymail/{provider}/tracking/"
    client = HttpClient(raise_request_exception=False)
    return client.post(path, body, content_type="application/json", headers=headers)


def bounce(details: str, email: str = GONE, kind: str = "HardBounce") -> dict[str, Any]:
    return {
        "RecordType": "Bounce",
        "Type": kind,
        "Email": email,
        "Details": details,
        "BouncedAt": "2026-12-01T04:00:00Z",
        "ID": 42,
    }


UNKNOWN = bounce("smtp;550 5.1.1 <nobody@example.com> The account does not exist\x00\ud800")
COMPLAINT = {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "Email": ANGRY.upper()}


def listed() -> list[tuple[str, str]]:
    return list(Suppression.objects.order_by("address").values_list("address", "why"))


def test_a_bounce_and_a_complaint_come_on_the_list_once_however_often_they_are_told() -> None:
    for _ in range(2):
        assert report(UNKNOWN).status_code == 200
        assert report(COMPLAINT).status_code == 200
    assert listed() == [(ANGRY, "complained"), (GONE, "bounced")]
    answer = Suppression.objects.get(address=GONE).said
    assert answer == "smtp;550 5.1.1 <[hidden]> The account does not exist\ufffd\ufffd"


@pytest.mark.parametrize(
    "event",
    [
        bounce("smtp;452 4.2.2 mailbox full", kind="SoftBounce"),
        bounce("smtp;550 5.7.1 blocked, user unknown"),
        bounce("smtp;554 relay access denied", kind="Blocked"),
        bounce("", kind="HardBounce"),
        bounce("550 5.1.1 no", email="no address"),
        {"RecordType": "Delivery", "Recipient": GONE, "DeliveredAt": "2026-12-01T04:00:00Z"},
        {"RecordType": "Open", "Recipient": GONE},
        {
            "RecordType": "SubscriptionChange",
            "Recipient": GONE,
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
        },
        {"RecordType": "Something new", "Recipient": GONE},
        {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "Email": {"a": 1}},
        bounce("550 5.1.1") | {"Email": 7, "Details": [7]},
    ],
)
def test_what_says_nothing_of_a_mailbox_is_taken_and_changes_nothing(event: Any) -> None:
    assert (report(event).status_code, listed()) == (200, [])


def test_many_at_once_are_taken_together_and_too_many_not_at_all(settings: Any) -> None:
    use(settings, "mailtrap")
    angry = {"event": "spam", "email": GONE, "timestamp": 1_790_000_001, "message_id": "x"}
    gone = angry | {"event": "bounce", "response": "bounced (550 5.1.1 user unknown)"}
    batch = {"events": [angry, gone, gone | {"email": ANGRY}]}
    assert report(batch, "mailtrap").status_code == 200
    assert listed() == [(ANGRY, "bounced"), (GONE, "complained")]
    Suppression.objects.all().delete()
    settings.MAIL_EVENTS_MAX = 2
    assert (report(batch, "mailtrap").status_code, listed()) == (413, [])


def test_whoever_does_not_know_the_secret_or_names_another_provider_changes_nothing(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert report(COMPLAINT, secret="shop:guess").status_code == 401
    assert HttpClient().post("/anymail/postmark/tracking/", {}).status_code == 401
    for authorization in (
        "Basic",
        "Basic !",
        "Basic /w==",
        "Bearer x",
        "Basic \u00e9",
        "Basic c2hvcDpndWVzc8Op",
    ):
        client = HttpClient(raise_request_exception=False, headers={"authorization": authorization})
        assert client.post("/anymail/postmark/tracking/", {}).status_code == 401, authorization
    assert report(COMPLAINT, provider="mailtrap").status_code == 404
    assert [one for one in caplog.records if one.levelname == "ERROR"] == [], "nobody is woken"
    settings.MAIL_EVENTS_SECRET, settings.ANYMAIL = "", {"WEBHOOK_SECRET": ""}
    assert report(COMPLAINT).status_code == 404
    settings.MAIL_EVENTS = ""
    assert report(COMPLAINT).status_code == 404
    assert listed() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b'"x"',
        b"[" * 100_000,
        b'{"RecordType": ["x"]}',
        b'{"RecordType": "Bounce", "Type": {}, "Email": "a@b.c"}',
        b'{"RecordType": "SpamComplaint", "Email": [1], "BouncedAt": 5}',
        b'{"RecordType": "Inbound", "FromFull": 1}',
    ],
)
def test_what_is_no_report_is_refused_and_breaks_nothing(body: bytes) -> None:
    answer = report(body)
    assert (answer.status_code, listed()) == (400, [])
    assert "no report as postmark writes it" in answer.content.decode()


@pytest.mark.parametrize("provider", ["brevo", "mailtrap", "postmark", "sparkpost"])
def test_every_provider_that_may_be_named_is_read_by_anymail(settings: Any, provider: str) -> None:
    use(settings, provider)
    assert report(b"{", provider).status_code == 400
    nothing = {"events": []} if provider == "mailtrap" else []
    assert report(nothing, provider).status_code in {200, 400}
    call_command("check")


def test_a_start_without_the_secret_ends_in_a_sentence(settings: Any) -> None:
    settings.MAIL_EVENTS_SECRET = ""
    with pytest.raises(CannotStart, match="MAIL_EVENTS_SECRET is not"):
        require_settings()
    settings.MAIL_EVENTS_SECRET, settings.DEBUG = "a:b", False
    with pytest.raises(CannotStart, match="fewer than 16"):
        require_settings()
