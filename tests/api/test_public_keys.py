"""What anybody may read of an endpoint's keys, and what it verifies: by OpenSSL, while libsodium
signs.
"""

import base64
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.test import Client as Anybody
from django.utils import timezone

from notifications.models import Delivery, Endpoint, Event
from notifications.webhooks import post
from orders.models import Client
from tests.doubles.edges import WebhookSink
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
Heard = tuple[dict[str, str], bytes]


@pytest.fixture
def endpoint(shop: Client, sink: WebhookSink, settings: Any) -> Endpoint:
    settings.WEBHOOK_ALLOW_LOCAL = True
    return Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])


def test_each_version_has_a_key_pair_and_both_sign_until_the_old_ones_time_is_over(
    api: Api, endpoint: Endpoint, sink: WebhookSink
) -> None:
    [old] = published(endpoint)
    endpoint.rotate(overlap=DAY)
    new, kept = published(endpoint)
    assert (kept, new["x"] == old["x"]) == (old, False)
    assert [new["kid"], old["kid"]] == [f"{endpoint.pk}:2", f"{endpoint.pk}:1"]
    public_keys = api.get(f"/v1/webhook-endpoints/{endpoint.pk}").json()["public_keys"]
    assert public_keys == [f"whpk_{base64.b64encode(raw(key)).decode()}" for key in (new, old)]
    heard = called(endpoint, sink)
    assert [verifies(key, heard) for key in (old, new)] == [True, True]
    endpoint.rotate(overlap=timedelta())
    heard, [last] = called(endpoint, sink), published(endpoint)
    assert [verifies(key, heard) for key in (old, new, last)] == [False, False, True]


def test_a_public_signature_covers_the_body_the_id_and_the_time(
    endpoint: Endpoint, sink: WebhookSink
) -> None:
    [key], (headers, body) = published(endpoint), called(endpoint, sink)
    assert verifies(key, (headers, body))
    assert not verifies(key, (headers, body + b" "))
    assert not verifies(key, ({**headers, "webhook-id": "another"}, body))
    assert not verifies(key, ({**headers, "webhook-timestamp": "1"}, body))


def test_whoever_knows_a_secret_cannot_sign_as_its_key_pair(endpoint: Endpoint) -> None:
    secret = base64.b64decode(endpoint.secret.removeprefix("whsec_"))
    own = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    assert raw(published(endpoint)[0]) != own


def test_public_keys_may_be_kept_for_minutes_and_a_removed_endpoint_has_none(
    api: Api, endpoint: Endpoint
) -> None:
    """A disabled one has: what it was sent may be verified later."""
    Endpoint.objects.disable(endpoint.pk, because=Endpoint.Because.ASKED)
    answer = Anybody().get(jwks(endpoint))
    assert answer["Content-Type"] == "application/jwk-set+json"
    assert answer["Cache-Control"] == "public, max-age=300"
    assert api.delete(f"/v1/webhook-endpoints/{endpoint.pk}").status_code == 204
    assert Anybody().get(jwks(endpoint)).status_code == 404
    assert Anybody().post(jwks(endpoint)).status_code == 405


def jwks(endpoint: Endpoint) -> str:
    return f"/.well-known/webhooks/{endpoint.pk}/jwks.json"


def published(endpoint: Endpoint) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = Anybody().get(jwks(endpoint)).json()["keys"]
    for key in keys:
        assert set(key) == {"kty", "crv", "x", "use", "kid"}, "no private half"
        assert (key["kty"], key["crv"], key["use"]) == ("OKP", "Ed25519", "sig")
    return keys


def raw(key: dict[str, str]) -> bytes:
    return base64.urlsafe_b64decode(f"{key['x']}=")


def called(endpoint: Endpoint, sink: WebhookSink) -> Heard:
    post(Delivery(event=Event(kind="order.held", data={}, at=timezone.now()), endpoint=endpoint))
    return sink.heard[-1]


def verifies(key: dict[str, str], heard: Heard) -> bool:
    headers, body = heard
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    public = Ed25519PublicKey.from_public_bytes(raw(key))
    for kind, signature in (one.split(",") for one in headers["webhook-signature"].split()):
        if kind == "v1a":
            with contextlib.suppress(InvalidSignature):
                public.verify(base64.b64decode(signature), content)
                return True
    return False
