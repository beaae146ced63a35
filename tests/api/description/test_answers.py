"""Every answer of every operation is exactly what its description says, whatever state that is in
of which it tells.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from pydantic import TypeAdapter

from api.app import api as described_api
from celery_ledger import context
from celery_ledger.models import Job
from celery_ledger.models import State as JobState
from celery_ledger.testing import work_off
from notifications.models import Attempt, Delivery, Endpoint
from orders import snapshots
from orders.exports.models import Export
from orders.models import Client, Order, Stock
from orders.states import State
from tests.celery_ledger import tasks
from tests.orders.imports.files import as_csv, cells
from tests.shop import Api, post
from tests.shop.everything import Existing, existing, objections, operations
from tests.shop.past_days import DAY, Sell, clock

__all__ = ["existing"]
pytestmark = pytest.mark.django_db(transaction=True)
AN_HOUR = timedelta(hours=1)
A_DAY = timedelta(days=1)
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


def test_an_order_is_shown_as_described_in_every_state(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    """Waiting, held, paid, sent in part and in full, refunded, declined and cancelled."""
    stock()
    place = partial(placed, api, order_body)
    received = place("received")
    seen = [api.get(received).json()]
    cancelled, held = place("cancelled"), place("held")
    assert post(api, f"{cancelled}/cancel", {"reason": "changed my mind"}).status_code == 202
    assert post(api, f"{held}/hold").status_code == 200
    declined, sent = place("declined", "tok_declined"), place("sent")
    work_off(ahead=AN_HOUR)
    seen += [api.get(url).json() for url in (received, cancelled, held, declined)]
    seen += [*sent_and_refunded(api, sent)]
    Order.objects.filter(external_id="received").update(state="reserved")
    seen.append(api.get(received).json())
    order = TypeAdapter(snapshots.Order)
    for snapshot in seen:
        order.validate_python(snapshot)
    assert {snapshot["state"] for snapshot in seen} == set(State.values)
    assert {snapshot["payment_state"] for snapshot in seen} >= {
        "none",
        "paid",
        "partially_refunded",
    }
    assert {snapshot["fulfilment_state"] for snapshot in seen} == {"none", "partial", "full"}


def test_fulfilments_refunds_and_events_are_shown_as_described(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    sent = placed(api, order_body, "sent")
    work_off(ahead=AN_HOUR)
    assert len([*sent_and_refunded(api, sent)]) == 8
    for kind, verb in ((snapshots.Fulfilment, "fulfilments"), (snapshots.Refund, "refunds")):
        listed = api.get(f"{sent}/{verb}").json()["data"]
        assert len(listed) == 2
        for one in listed:
            TypeAdapter(kind).validate_python(one)
    events = described("read_events", api.get(f"{sent}/events"))["data"]
    assert described("list_events", api.get("/v1/events"))["data"][0]["type"] == events[0]["type"]


def placed(
    api: Api, order_body: Callable[..., Any], external_id: str, token: str = "tok_ok"
) -> str:
    """The order's path."""
    body = order_body(external_id=external_id, payment={"token": token})
    return str(api.place(body, key=external_id)["Location"])


def sent_and_refunded(api: Api, path: str) -> Iterator[dict[str, Any]]:
    """The order after each step, before and after what follows of it is done."""
    unit = {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]}
    for verb, body in (
        ("fulfilments", {**unit, "carrier": "Yamato"}),
        ("fulfilments", unit),
        ("refunds", {**unit, "reason": "cold", "restock": True}),
        ("refunds", {"reason": "late"}),
    ):
        assert post(api, f"{path}/{verb}", body).status_code < 300
        yield api.get(path).json()
        work_off(ahead=AN_HOUR)
        yield api.get(path).json()


# --- beside the orders ----------------------------------------------------------------------------


def described(operation: str, answer: Any) -> Any:
    """The body of this answer to that operation, which is as the description has it."""
    response = OPERATIONS[operation]["responses"][str(answer.status_code)]
    schema = response["content"]["application/json"]["schema"]
    body = answer.json()
    assert objections(body, schema) == [], body
    return body


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
    described("begin_export", begun)
    work_off()
    Export.objects.update(**changes)
    export = described("read_export", api.get(begun["Location"]))
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
    assert described("begin_import", trial)["failed"] == 1
    begun = api.post("/v1/imports", file, "text/csv", headers=headers)
    assert described("begin_import", begun)["state"] == "running"
    work_off(ahead=A_DAY)
    done = described("read_import", api.get(begun["Location"]))
    assert (done["state"], done["ok"], done["failed"]) == ("done", 1, 3)


def test_a_trial_without_a_fault(api: Api, stock: Any) -> None:
    stock()
    headers = {"Idempotency-Key": "import-1"}
    answer = api.post("/v1/imports?dry_run=true", as_csv([cells()]), "text/csv", headers=headers)
    assert described("begin_import", answer)["errors"] == []


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
    job = described("read_job", api.get(f"/v1/jobs/{id_}"))
    assert described("list_jobs", api.get("/v1/jobs"))["data"] == [job]
    assert job["state"] == state
    error = {"type": "ValueError", "message": "no such luck"} if is_own else None
    assert (job["result"] is not None, job["error"]) == (is_own, error)


@pytest.mark.parametrize("because", ["", *Endpoint.Because.values])
def test_an_endpoint_whether_or_not_it_is_called(api: Api, because: str) -> None:
    body = {"url": "https://example.com/hook", "events": ["*"], "headers": {"x-shop": "1"}}
    made = described("create_endpoint", post(api, "/v1/webhook-endpoints", body))
    path = f"/v1/webhook-endpoints/{made['id']}"
    now = timezone.now()
    Endpoint.objects.update(
        disabled_because=because, disabled_at=now if because else None, failing_since=now
    )
    described("rotate_secret", post(api, f"{path}/rotate-secret"))
    endpoint = described("read_endpoint", api.get(path))
    assert described("list_endpoints", api.get("/v1/webhook-endpoints"))["data"] == [endpoint]
    assert (endpoint["active"], endpoint["disabled_because"]) == (not because, because or None)
    assert len(endpoint["public_keys"]) == 2


CALL: dict[str, Any] = {"duration_ms": 1, "body": "", "request_headers": {}}


@pytest.mark.parametrize("state", Delivery.State.values)
@pytest.mark.parametrize("answers", [[], ["answered 200"], ["answered 500", "no answer"]])
def test_a_delivery_in_every_state(api: Api, shop: Client, state: str, answers: list[str]) -> None:
    endpoint = Endpoint.objects.create(owner=shop.pk, url="https://example.com/", events=["*"])
    path = f"/v1/webhook-endpoints/{endpoint.pk}"
    begun = post(api, f"{path}/test")
    described("test_endpoint", begun)
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
    read = described("read_delivery", api.get(begun["Location"]))
    assert [one["said"] for one in read.pop("attempts")] == answers[::-1]
    assert described("list_deliveries", api.get(f"{path}/deliveries"))["data"] == [read]
    assert (read["state"], read["last_answer"] is not None) == (state, bool(answers))
    since = {"since": (now - A_DAY).isoformat(), "state": "all"}
    described("replay_deliveries", post(api, f"{path}/replay", since))


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
    [kept] = described("export_customer", post(api, "/v1/customers/export", person))["data"]
    assert (bool(kept["events"]), bool(kept["mails"]), len(kept["remarks"])) == (True, True, 1)
    post(api, f"/v1/orders/{order.pk}/fulfilments")
    work_off(ahead=A_DAY)
    begun = post(api, "/v1/customers/erase", person)
    assert described("erase_customer", begun)["state"] == "running"
    work_off(ahead=A_DAY)
    erasure = described("read_erasure", api.get(begun["Location"]))
    assert (erasure["state"], erasure["orders"]) == ("done", 1)


def test_a_shop_of_which_nothing_is_set_and_one_of_which_all_is(api: Api) -> None:
    nothing = described("read_shop", api.get("/v1/shop"))
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
    assert described("change_shop", answer) == {**settings, "of_the_installation": []}


def test_the_stock_and_its_book(api: Api, stock: Any) -> None:
    stock()
    Stock.objects.adjust("SAKE-NIGIRI", -1, reason="fell down")
    headers = {"Content-Type": "text/csv"}
    file = b"sku,on_hand\r\nEBI,3\r\n"
    counted = api.generic("PUT", "/v1/stock", file, "text/csv", headers=headers)
    assert described("count_file", counted) == {"rows": 1}
    assert len(described("list_stock", api.get("/v1/stock?limit=1"))["data"]) == 1
    assert len(described("list_stock_movements", api.get("/v1/stock-movements"))["data"]) == 3


def test_figures_that_are_still_computed(api: Api, sell: Sell) -> None:
    sell(clock("12:00"))
    path = f"/v1/reports/daily/{DAY}"
    assert described("read_daily_report", api.get(path)) == {"state": "computing"}
    work_off()
    assert described("read_daily_report", api.get(path))["final"]
