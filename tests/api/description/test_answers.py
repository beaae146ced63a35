"""Every answer of every operation is exactly what its description says, whatever state that is in
of which it tells.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from api.app import api as described_api
from celery_ledger import context
from celery_ledger.models import Job
from celery_ledger.models import State as JobState
from celery_ledger.testing import work_off
from notifications.models import Attempt, Delivery, Endpoint
from orders.exports.models import Export
from orders.models import Client, Order, Stock
from tests.celery_ledger import tasks
from tests.orders.imports.files import as_csv, cells
from tests.shop import Api, post
from tests.shop.everything import Existing, existing, objections, operations
from tests.shop.past_days import DAY, Sell, clock

__all__ = ["existing"]
pytestmark = pytest.mark.django_db(transaction=True)
A_DAY = timedelta(days=1)
ONE = {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]}
OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations()}
MODELS = {
    (method.lower(), operation.view_func.__name__): operation.response_models
    for router in described_api._get_bound_routers()
    for view in router.path_operations.values()
    for operation in view.operations
    for method in operation.methods
}


def test_every_operation_that_reads_answers_as_described(existing: Existing) -> None:
    read = 0
    for method, path, operation in operations():
        if method != "get" or not operation["security"]:
            continue
        answer = Api(existing["key"]).get(path.format(**existing))
        model = MODELS[method, operation["operationId"]].get(answer.status_code)
        if answer["Content-Type"].startswith("application/json") and model is not None:
            model.model_validate_json(b'{"response": ' + answer.content + b"}")
            read += 1
    assert read >= 16


def body_of(operation: str, answer: Any, kind: str = "application/json") -> Any:
    """The body of this answer to that operation, which is as the description has it."""
    response = OPERATIONS[operation]["responses"][str(answer.status_code)]
    body = answer.json()
    assert objections(body, response["content"][kind]["schema"]) == [], body
    return body


# --- orders ---------------------------------------------------------------------------------------


@pytest.fixture
def placed(api: Api, stock: Any, order_body: Callable[..., Any]) -> Callable[..., str]:
    """The path of an order that is placed."""
    stock()

    def place(name: str, token: str = "tok_ok") -> str:
        body = order_body(external_id=name, payment={"token": token, "attempts": 2})
        answer = api.place(body, key=name)
        body_of("place_order", answer)
        return str(answer["Location"])

    return place


def read(api: Api, path: str) -> Any:
    """The order; how it is paid and what has happened to it are as described too."""
    order = body_of("read_order", api.get(path))
    payment = body_of("read_payment", api.get(f"{path}/payment"))
    assert payment["state"] == order["payment_state"]
    events = body_of("read_events", api.get(f"{path}/events"))["data"]
    assert events[-1]["seq"] == order["version"]
    return order


def test_an_order_until_it_is_paid_or_will_not_be(api: Api, placed: Callable[..., str]) -> None:
    received = placed("received")
    assert read(api, received)["state"] == "received"
    cancelled, held = placed("cancelled"), placed("held")
    body_of("cancel_order", post(api, f"{cancelled}/cancel", {"reason": "changed my mind"}))
    body_of("hold_order", post(api, f"{held}/hold"))
    declined, asked = placed("declined", "tok_declined"), placed("asked", "tok_confirm")
    work_off(ahead=timedelta(hours=1))
    states = [
        (order["state"], order["payment_state"])
        for order in (read(api, path) for path in (received, cancelled, held, declined, asked))
    ]
    assert states == [
        ("confirmed", "paid"),
        ("cancelled", "none"),
        ("received", "none"),
        ("reserved", "failed"),
        ("reserved", "action_required"),
    ]


MOVES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("fulfil_order", "fulfilments", {**ONE, "carrier": "Yamato"}),
    ("announce_return", "returns", ONE),
    ("fulfil_order", "fulfilments", ONE),
    ("refund_order", "refunds", {**ONE, "reason": "cold", "restock": True}),
    ("refund_order", "refunds", {"reason": "late"}),
)


def test_an_order_while_its_goods_and_its_money_move(api: Api, placed: Callable[..., str]) -> None:
    path = placed("sent")
    work_off()
    seen = [read(api, path)]
    for operation, part, body in MOVES:
        body_of(operation, post(api, f"{path}/{part}", body))
        seen.append(read(api, path))
        work_off(ahead=timedelta(hours=1))
        seen.append(read(api, path))
    assert {order["fulfilment_state"] for order in seen} == {"none", "partial", "full"}
    assert {order["payment_state"] for order in seen} >= {"paid", "partially_refunded", "refunded"}
    numbers = {
        part: len(body_of(f"read_{part}", api.get(f"{path}/{part}"))["data"])
        for part in ("fulfilments", "refunds", "returns")
    }
    assert numbers == {"fulfilments": 2, "refunds": 2, "returns": 1}
    assert body_of("list_orders", api.get("/v1/orders"))["data"] == [seen[-1]]
    listed = body_of("list_events", api.get("/v1/events"))["data"]
    assert len(listed) == seen[-1]["version"]


def test_a_refusal_names_what_is_wrong_or_nothing(api: Api, placed: Callable[..., str]) -> None:
    path = placed("one")
    for operation, answer, number in (
        ("place_order", api.place({}, key="empty"), 5),
        ("read_order", api.get(f"/v1/orders/{uuid4()}"), 0),
        ("fulfil_order", post(api, f"{path}/fulfilments"), 0),
    ):
        problem = body_of(operation, answer, "application/problem+json")
        assert (len(problem["errors"]), problem["status"]) == (number, answer.status_code)


# --- beside the orders ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "state", "goes_on"),
    [
        ({"finished_at": None}, "running", False),
        ({}, "done", False),
        ({"goes_on": True}, "done", True),
        ({"failed": True, "goes_on": True}, "failed", False),
    ],
)
def test_an_export_in_every_state(
    api: Api,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    changes: dict[str, Any],
    state: str,
    goes_on: bool,
) -> None:
    stock()
    api.place(order_body())
    begun = post(api, "/v1/exports/orders?format=ndjson")
    body_of("begin_export", begun)
    work_off()
    Export.objects.update(**changes)
    export = body_of("read_export", api.get(begun["Location"]))
    assert (export["state"], export["next"] is not None) == (state, goes_on)
    assert len(export["links"]["files"]) == (1 if state == "done" else 0)


def test_an_import_while_it_runs_and_with_all_that_may_become_of_its_orders(
    api: Api, stock: Any
) -> None:
    stock()
    stock("EBI", 0, "海老")
    rows = [
        cells(external_id="there"),
        cells(external_id="sold-out", sku="EBI"),
        cells(external_id="declined", token="tok_declined"),
        cells(external_id="refused", total="1"),
    ]
    file = as_csv(rows)
    headers = {"Idempotency-Key": "import-1"}
    trial = api.post("/v1/imports?dry_run=true", file, "text/csv", headers=headers)
    assert body_of("begin_import", trial)["failed"] == 1
    begun = api.post("/v1/imports", file, "text/csv", headers=headers)
    assert body_of("begin_import", begun)["state"] == "running"
    work_off(ahead=A_DAY)
    done = body_of("read_import", api.get(begun["Location"]))
    assert (done["state"], done["ok"], done["failed"]) == ("done", 1, 3)


def test_a_trial_without_a_fault(api: Api, stock: Any) -> None:
    stock()
    headers = {"Idempotency-Key": "import-1"}
    answer = api.post("/v1/imports?dry_run=true", as_csv([cells()]), "text/csv", headers=headers)
    assert body_of("begin_import", answer)["errors"] == []


@pytest.mark.parametrize("state", JobState.values)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_job_in_every_state(api: Api, shop: Client, state: str, is_own: bool) -> None:
    """Its result may be anything that Celery can write; of the shop's own it is not told."""
    with context.bound(client=str(shop.pk) if is_own else None):
        id_ = tasks.add.delay(1, 1).id
    has_ended = state not in (JobState.WAITING, JobState.RUNNING)
    now = timezone.now()
    Job.objects.filter(pk=id_).update(
        state=state,
        token="00000000-0000-0000-0000-000000000001" if state == JobState.RUNNING else None,
        lease_until=now + A_DAY if state == JobState.RUNNING else None,
        finished_at=now if has_ended else None,
        result={"at": now, "sum": 2},
        error={"type": "ValueError", "message": "no such luck", "traceback": "…"},
    )
    job = body_of("read_job", api.get(f"/v1/jobs/{id_}"))
    assert body_of("list_jobs", api.get("/v1/jobs"))["data"] == [job]
    assert job["state"] == state
    error = {"type": "ValueError", "message": "no such luck"} if is_own else None
    assert (job["result"] is not None, job["error"]) == (is_own, error)


@pytest.mark.parametrize("because", ["", *Endpoint.Because.values])
def test_an_endpoint_whether_or_not_it_is_called(api: Api, because: str) -> None:
    body = {"url": "https://example.com/hook", "events": ["*"], "headers": {"x-shop": "1"}}
    made = body_of("create_endpoint", post(api, "/v1/webhook-endpoints", body))
    path = f"/v1/webhook-endpoints/{made['id']}"
    now = timezone.now()
    Endpoint.objects.update(
        disabled_because=because, disabled_at=now if because else None, failing_since=now
    )
    body_of("rotate_secret", post(api, f"{path}/rotate-secret"))
    endpoint = body_of("read_endpoint", api.get(path))
    assert body_of("list_endpoints", api.get("/v1/webhook-endpoints"))["data"] == [endpoint]
    assert (endpoint["active"], endpoint["disabled_because"]) == (not because, because or None)
    assert len(endpoint["public_keys"]) == 2


CALL: dict[str, Any] = {"duration_ms": 1, "body": "", "request_headers": {}}


@pytest.mark.parametrize("state", Delivery.State.values)
@pytest.mark.parametrize("answers", [[], ["answered 200"], ["answered 500", "no answer"]])
def test_a_delivery_in_every_state(api: Api, shop: Client, state: str, answers: list[str]) -> None:
    endpoint = Endpoint.objects.create(owner=shop.pk, url="https://example.com/", events=["*"])
    path = f"/v1/webhook-endpoints/{endpoint.pk}"
    begun = post(api, f"{path}/test")
    body_of("test_endpoint", begun)
    [delivery] = Delivery.objects.all()
    for answer in answers:
        call = CALL if answer.startswith("answered") else {}
        Attempt.objects.create(delivery=delivery, ok="200" in answer, answer=answer, **call)
    now = timezone.now()
    Delivery.objects.update(
        state=state,
        delivered_at=now if state == Delivery.State.DELIVERED else None,
        resent_at=now if answers else None,
    )
    read = body_of("read_delivery", api.get(begun["Location"]))
    assert [one["said"] for one in read.pop("attempts")] == answers[::-1]
    assert body_of("list_deliveries", api.get(f"{path}/deliveries"))["data"] == [read]
    assert (read["state"], read["last_answer"] is not None) == (state, bool(answers))
    since = {"since": (now - A_DAY).isoformat(), "state": "all"}
    body_of("replay_deliveries", post(api, f"{path}/replay", since))


def test_a_person_before_and_after_they_are_erased(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    person = {"email": "hana@example.com"}
    api.place(order_body())
    work_off(ahead=A_DAY)
    [order] = Order.objects.all()
    with transaction.atomic():
        order.remarks.write(Order.objects.locked(order.pk), "called", who="staff")
    [kept] = body_of("export_customer", post(api, "/v1/customers/export", person))["data"]
    assert (bool(kept["events"]), bool(kept["mails"]), len(kept["remarks"])) == (True, True, 1)
    post(api, f"/v1/orders/{order.pk}/fulfilments")
    work_off(ahead=A_DAY)
    begun = post(api, "/v1/customers/erase", person)
    assert body_of("erase_customer", begun)["state"] == "running"
    work_off(ahead=A_DAY)
    erasure = body_of("read_erasure", api.get(begun["Location"]))
    assert (erasure["state"], erasure["orders"]) == ("done", 1)


def test_a_shop_of_which_nothing_is_set_and_one_of_which_all_is(api: Api) -> None:
    nothing = body_of("read_shop", api.get("/v1/shop"))
    assert (nothing["logo_url"], "name" in nothing["of_the_installation"]) == (None, True)
    settings = {
        "name": "Kaiten",
        "logo_url": "https://example.com/logo.png",
        "contact": "+81 3 1234",
        "reply_to": "shop@example.com",
        "imprint": "Tokyo",
        "time_zone": "Asia/Tokyo",
        "language": "ja",
        "reservation_minutes": 30,
        "withdrawal_days": 0,
    }
    answer = api.patch("/v1/shop", settings, content_type="application/json")
    assert body_of("change_shop", answer) == {**settings, "of_the_installation": []}


def test_the_stock_and_its_book(api: Api, stock: Any) -> None:
    stock()
    Stock.objects.adjust("SAKE-NIGIRI", -1, reason="fell down")
    headers = {"Content-Type": "text/csv"}
    file = b"sku,on_hand\r\nEBI,3\r\n"
    counted = api.generic("PUT", "/v1/stock", file, "text/csv", headers=headers)
    assert body_of("count_file", counted) == {"rows": 1}
    assert len(body_of("list_stock", api.get("/v1/stock?limit=1"))["data"]) == 1
    assert len(body_of("list_stock_movements", api.get("/v1/stock-movements"))["data"]) == 3


def test_figures_that_are_still_computed(api: Api, sell: Sell) -> None:
    sell(clock("12:00"))
    path = f"/v1/reports/daily/{DAY}"
    assert body_of("read_daily_report", api.get(path)) == {"state": "computing"}
    work_off()
    assert body_of("read_daily_report", api.get(path))["final"]
