"""The description's `webhooks` are what an endpoint is really sent: each kind of event, heard over
HTTP by an endpoint that listens to all of them.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
from django.db import transaction
from django.test import Client as HttpClient
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from standardwebhooks import Webhook

from api.app import api as described_api
from celery_ledger.testing import work_off
from notifications.events import KINDS
from notifications.models import Delivery, Endpoint
from notifications.models.event import TEST
from orders.models import Order, withdraw
from orders.payments.outcome import apply_answer
from orders.payments.provider import Charge, ChargeStatus
from orders.tasks import give_back
from tests.doubles.edges import WebhookSink
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Placed = Callable[..., str]
HANA = "hana@example.com"
ONE = {"lines": [{"position": 0, "quantity": 1}]}
OUR_OWN = {"host", "user-agent", "content-type", "content-length", "accept-encoding"}


@pytest.fixture
def endpoint(api: Api, sink: WebhookSink, settings: Any) -> str:
    """Its path; it listens to everything, in a shop that has little left."""
    counted = {"on_hand": 30, "low_at": 28, "name": "鮭"}
    api.put("/v1/stock/SAKE-NIGIRI", counted, content_type="application/json")
    settings.WEBHOOK_ALLOW_LOCAL = True
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 14}
    made = post(api, "/v1/webhook-endpoints", {"url": sink.url, "events": ["*"]})
    return f"/v1/webhook-endpoints/{made.json()['id']}"


@pytest.fixture
def placed(api: Api, order_body: Callable[..., Any]) -> Placed:
    """The path of an order that was worked off."""

    def place(**changes: Any) -> str:
        body = {"external_id": str(uuid4()), "email": f"{uuid4().hex}@example.com", **changes}
        path: str = api.place(order_body(**body), key=str(uuid4())).json()["links"]["self"]
        work_off()
        return path

    return place


def do(api: Api, path: str, body: Any = None) -> Any:
    answer = post(api, path, body)
    assert answer.status_code < 300, answer.content
    work_off()
    return answer.json()


def locked(path: str) -> Order:
    return Order.objects.locked(path.rpartition("/")[2])


def sends_back_and_forth(api: Api, path: str) -> None:
    """A mistake, a parcel, a return that does not come and one that does."""
    booked = do(api, f"{path}/fulfilments", ONE)
    do(api, f"{path}/fulfilments/{booked['id']}/cancel")
    do(api, f"{path}/hold")
    do(api, f"{path}/release")
    changes = {
        "note": "rings twice",
        "customer": {"name": "花"},
        "shipping_address": {"city": "渋谷"},
    }
    api.patch(path, changes, content_type="application/json")
    do(api, f"{path}/fulfilments", ONE)
    for verb in ("cancel", "receive"):
        come = do(api, f"{path}/returns", ONE)
        do(api, f"{path}/returns/{come['id']}/{verb}")
    do(api, f"{path}/fulfilments")
    do(api, f"{path}/refunds", {**ONE, "amount": 0, "restock": True, "reason": "cold"})
    do(api, f"{path}/refunds", {"amount": 1, "reason": "late"})


def bank_sends_back(path: str) -> None:
    with transaction.atomic():
        order = locked(path)
        given = order.operations.filter(kind="refund").latest("pk")
        refund = (given.reference, given.key, given.amount, given.currency)
        apply_answer(order, given, Charge(*refund, ChargeStatus.DECLINED))
    work_off()


def pays_with_the_second_card(api: Api, path: str) -> None:
    page = api.get(f"{path}/payment").json()["action"]["url"]
    HttpClient().post("/" + page.split("/", 3)[3], {"word": "no"})
    work_off()
    do(api, f"{path}/payments", {"token": "tok_ok"})


def comes_again(api: Api, order_body: Callable[..., Any], path: str) -> None:
    """A declined order, in a file."""
    first = api.get(path).json()
    rows = json.dumps(order_body(external_id=first["external_id"], email=first["email"]))
    headers = {"Idempotency-Key": str(uuid4())}
    file = ("/v1/imports", rows, "application/x-ndjson")
    assert api.post(*file, headers=headers).status_code == 202
    work_off()


def withdrawn_and_forgotten(api: Api, path: str) -> None:
    with transaction.atomic():
        give_back(withdraw(locked(path), name="Hana"))
    work_off()
    do(api, "/v1/customers/erase", {"email": HANA})


def everything_happens(
    api: Api, endpoint: str, placed: Placed, order_body: Callable[..., Any]
) -> None:
    do(api, f"{endpoint}/test")
    bought = placed()
    sends_back_and_forth(api, bought)
    bank_sends_back(bought)
    pays_with_the_second_card(api, placed(payment={"token": "tok_confirm", "attempts": 2}))
    do(api, f"{placed(payment={'method': 'cod'})}/fulfilments")
    comes_again(api, order_body, placed(payment={"token": "tok_declined"}))
    withdrawn_and_forgotten(api, placed(email=HANA))


def body_of(kind: str, document: Any) -> jsonschema_rs.Validator:
    content = document["webhooks"][kind]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    return jsonschema_rs.validator_for(
        {**schema, "components": document["components"]}, validate_formats=True
    )


def test_each_webhook_is_as_it_is_described(
    api: Api, endpoint: str, placed: Placed, sink: WebhookSink, order_body: Callable[..., Any]
) -> None:
    """Full at one endpoint and thin at another, of the same events."""
    thin = {"url": sink.url, "events": ["*"], "payload": "thin", "ordered": True}
    made = post(api, "/v1/webhook-endpoints", thin).json()
    everything_happens(api, endpoint, placed, order_body)
    do(api, f"/v1/webhook-endpoints/{made['id']}/test")
    document = json.loads(api.get("/v1/openapi.json").content)
    heard = [(headers, json.loads(body)) for headers, body in sink.heard]
    for is_thin in (False, True):
        kinds = {body["type"] for _, body in heard if ("id" in body) == is_thin}
        assert kinds == {*KINDS, TEST} == set(document["webhooks"])
    for kind in document["webhooks"]:
        operation = document["webhooks"][kind]["post"]
        names = {parameter["name"] for parameter in operation["parameters"]}
        validator = body_of(kind, document)
        for headers, body in heard:
            errors = list(validator.iter_errors(body))
            assert (errors == []) == (body["type"] == kind), errors
            assert set(headers) - OUR_OWN == names
    assert not Delivery.objects.filter(channel="webhook").exclude(state="delivered").exists()


def test_what_is_sent_again_after_an_erasure_is_as_it_is_described(
    api: Api, endpoint: str, placed: Placed, sink: WebhookSink
) -> None:
    """The events were rewritten."""
    withdrawn_and_forgotten(api, placed(email=HANA))
    Endpoint.objects.update(listens_since="2026-01-01T00:00:00Z")
    sink.heard.clear()
    do(api, f"{endpoint}/replay", {"since": "2026-01-01T00:00:00Z", "state": "all"})
    document = described_api.get_openapi_schema()
    heard = [json.loads(body) for _, body in sink.heard]
    of_orders = [body for body in heard if "order" in body["data"]]
    assert len(of_orders) > 5
    for body in of_orders:
        body_of(body["type"], document).validate(body)
        assert body["data"]["order"]["email"] == ""


def test_the_document_is_openapi_3_1() -> None:
    assert list(OPENAPI_31_VALIDATOR.iter_errors(described_api.get_openapi_schema())) == []


def test_a_thin_one_names_nobody_and_leads_to_what_it_is_about(
    api: Api, endpoint: str, placed: Placed, sink: WebhookSink
) -> None:
    """Signed as any other. What is sent again is as its endpoint wants it now."""
    path = placed(email=HANA, customer={"name": "Hana Sato"}, note="rings twice")
    named = (HANA, "Hana Sato", "rings twice", "/o/")
    assert all(any(word in body.decode() for _, body in sink.heard) for word in named)
    sink.heard.clear()
    Endpoint.objects.update(listens_since="2026-01-01T00:00:00Z")
    api.patch(endpoint, {"payload": "thin"}, content_type="application/json")
    do(api, f"{endpoint}/replay", {"since": "2026-01-01T00:00:00Z", "state": "all"})
    texts = [body.decode() for _, body in sink.heard]
    assert [word for word in named for text in texts if word in text] == []
    events = {one["id"]: one for one in api.get("/v1/events").json()["data"]}
    for headers, body in sink.heard:
        webhook = Webhook(Endpoint.objects.get().secret).verify(body, headers)
        [about] = webhook["data"].values()
        assert api.get(about["links"]["self"]).status_code == 200
        full = events[webhook["id"]]
        assert (webhook["type"], webhook["timestamp"]) == (full["type"], full["timestamp"])
        [of] = [full["data"][name] for name in webhook["data"]]
        assert {name: of[name] for name in about if name != "links"}.items() <= about.items()
    assert {"order.confirmed", "stock.low"} <= {json.loads(text)["type"] for text in texts}
    assert api.get(path).headers["ETag"].strip('W/"') == str(versions(texts)[-1])


def test_an_order_s_version_is_the_same_number_wherever_an_event_is_told(
    api: Api, endpoint: str, placed: Placed, sink: WebhookSink
) -> None:
    path = placed()
    do(api, f"{path}/hold")
    timeline = api.get(f"{path}/events").json()["data"]
    numbers = [event["seq"] for event in timeline]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [event["data"]["order"]["version"] for event in timeline] == numbers
    assert versions([body.decode() for _, body in sink.heard]) == numbers
    events = api.get("/v1/events").json()["data"]
    assert versions([json.dumps(event) for event in events]) == numbers
    deliveries = api.get(f"{endpoint}/deliveries").json()["data"]
    of_order = [one for one in deliveries if one["event"]["type"].startswith("order.")]
    assert sorted(one["event"]["seq"] for one in of_order) == numbers
    assert api.get(path).headers["ETag"].strip('W/"') == str(numbers[-1])


def versions(texts: list[str]) -> list[int]:
    data = [json.loads(text)["data"] for text in texts]
    return sorted(one["order"]["version"] for one in data if "order" in one)
