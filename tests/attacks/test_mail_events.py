"""Hostile reports of mail: whatever is sent in a provider's name is answered, never with a 500 and
never half written, in a time that grows with its size and no faster.
"""

import json
import random
from base64 import b64encode
from typing import Any

import pytest
from django.test import Client as HttpClient

from notifications.models import Suppression

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "shop:a-long-random-password"
SEED = 20261201
PROVIDERS = ["brevo", "mailtrap", "postmark", "sparkpost"]


@pytest.fixture(params=PROVIDERS)
def provider(request: Any, settings: Any) -> str:
    settings.MAIL_EVENTS, settings.MAIL_EVENTS_SECRET = request.param, SECRET
    settings.ANYMAIL = {"WEBHOOK_SECRET": SECRET}
    return str(request.param)


def report(provider: str, body: bytes, kind: str = "application/json") -> Any:
    headers = {"authorization": f"Basic {b64encode(SECRET.encode()).decode()}"}
    client = HttpClient(raise_request_exception=False)
    return client.post(f"/anymail/{provider}/tracking/", body, content_type=kind, headers=headers)


GENUINE: dict[str, Any] = {
    "postmark": {
        "RecordType": "Bounce",
        "Type": "HardBounce",
        "Email": "a@example.com",
        "ID": 4,
        "Details": "smtp;550 5.1.1 unknown",
        "BouncedAt": "2026-12-01T04:00:00Z",
        "Metadata": {"a": "b"},
        "Tag": "x",
    },
    "mailtrap": {
        "events": [
            {
                "event": "bounce",
                "email": "a@example.com",
                "timestamp": 1_790_000_001,
                "message_id": "x",
                "response": "550 5.1.1 unknown",
                "category": "c",
                "custom_variables": {"a": "b"},
                "event_id": "y",
                "reason": "z",
            }
        ]
    },
    "brevo": {
        "event": "hard_bounce",
        "email": "a@example.com",
        "ts_epoch": 1_790_000_001_000,
        "reason": "550 5.1.1 unknown",
        "message-id": "<x>",
        "tags": ["x"],
        "X-Mailin-custom": "{}",
    },
    "sparkpost": [
        {
            "msys": {
                "message_event": {
                    "type": "bounce",
                    "rcpt_to": "a@example.com",
                    "raw_rcpt_to": "a@example.com",
                    "bounce_class": "10",
                    "timestamp": "1790000001",
                    "event_id": "y",
                    "raw_reason": "550 5.1.1 unknown",
                    "rcpt_meta": {"a": "b"},
                    "rcpt_tags": ["x"],
                    "transmission_id": "z",
                }
            }
        }
    ],
}
STRANGE: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    10**18,
    2**63,
    "",
    "\x00",
    "\ud800",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "9" * 30,
    "x" * 5000 + "@b.c",
    "a@" + "\u00fc" * 300 + ".de",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    {"\x00": "\ud800"},
    float("nan"),
    float("inf"),
    "a@\u2488com.de",
    "a@\U0001f600",
    "a@xn--\x00",
    "a@b.c\r\nBcc: d@e.f",
]


def spoilt(body: Any, dice: random.Random) -> Any:
    """A copy of it with something strange in one place."""
    if dice.random() < 0.25 or not isinstance(body, (dict, list)) or not body:
        return dice.choice(STRANGE)
    if isinstance(body, list):
        return [spoilt(one, dice) for one in body]
    name = dice.choice(list(body))
    if dice.random() < 0.1:
        return {key: value for key, value in body.items() if key != name}
    return {**body, name: spoilt(body[name], dice)}


def test_whatever_is_spoilt_in_a_report_it_is_answered(provider: str) -> None:
    assert report(provider, json.dumps(GENUINE[provider]).encode()).status_code == 200
    dice, failed = random.Random(SEED), []
    for _ in range(600):
        body = GENUINE[provider]
        for _ in range(dice.choice([1, 1, 2, 3])):
            body = spoilt(body, dice)
        answer = report(provider, json.dumps(body).encode())
        if answer.status_code not in (200, 400):
            failed.append((answer.status_code, body))
    assert failed == []


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x"])
def test_of_whatever_kind_and_size_it_calls_itself_it_is_answered(
    provider: str, kind: str, settings: Any
) -> None:
    deep, number, garbage = b'{"a":' * 3000, b"9" * 6000, "{}".encode("utf-16")
    huge = b" " * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    answers = [report(provider, body, kind) for body in (b"", b"a=b", deep, number, garbage, huge)]
    assert {answer.status_code for answer in answers} <= {400, 413}
    assert not Suppression.objects.exists()
