"""What is kept about a person, and forgetting them: the books stay as they are."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from notifications.models import Delivery, Endpoint, Event, Suppression
from orders.audit import MONEY, STOCK, broken
from orders.models import (
    ApiKey,
    Client,
    Erasure,
    IdempotencyKey,
    Import,
    ImportRow,
    Order,
    withdraw,
)
from orders.tasks import erase
from tests.doubles.edges import Postbox, WebhookSink
from tests.postgres.hands import Hand
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
HANA = "Hana@example.com"
PERSON: dict[str, Any] = {
    "email": HANA,
    "customer": {"name": "Hana Sato", "phone": "+81 90 1234 5678", "external_id": "kunde-17"},
    "shipping_address": {"name": "Hana Sato", "line1": "Jinnan 1-2-3", "country": "JP"},
    "billing_address": {"company": "Sato Inc"},
    "metadata": {"table": "Satos"},
    "note": "Hana rings twice",
    "tags": ["hanas"],
}
STRANGER: dict[str, Any] = {
    **dict.fromkeys(("customer", "shipping_address", "billing_address", "note")),
    "email": "taro@example.net",
    "metadata": {},
    "tags": [],
}
SECRETS = (  # longer than what a random token may spell by chance
    *("hana@example", "hana sato", "sato inc", "satos", "hana rings", "hanas"),
    *("90 1234", "jinnan", "kunde-17"),
)


@pytest.fixture
def hand() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


@pytest.fixture
def ended(api: Api, stock: Any, order_body: Body, postbox: Postbox) -> Callable[..., Any]:
    """An order that was paid, sent and partly refunded."""
    stock()

    def order(name: str, **changes: Any) -> Any:
        body = order_body(**PERSON | changes, external_id=name)
        path = api.place(body, key=name).json()["links"]["self"]
        work_off()
        post(api, f"{path}/fulfilments")
        post(api, f"{path}/refunds", {"amount": 100, "reason": "late"})
        work_off()
        return api.get(path).json()

    return order


def forget(api: Api, email: str = HANA) -> Any:
    return api.post("/v1/customers/erase", {"email": email}, content_type="application/json")


def run(erasure_id: str) -> None:
    """One step of it, and no more."""
    with transaction.atomic():
        erase.run(erasure_id)


def kept_of_the_person() -> set[tuple[str, str]]:
    """Pairs of a table and a secret that it tells."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        texts = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{table}\" AS t")
            texts[table] = cursor.fetchone()[0].lower()
    return {
        (table, secret) for table, text in texts.items() for secret in SECRETS if secret in text
    }


def test_nothing_that_is_kept_says_who_it_was_and_the_books_are_as_they_were(
    api: Api, ended: Callable[..., Any], order_body: Body
) -> None:
    before = [ended("one"), ended("two", email=HANA.upper())]
    other = ended("three", **STRANGER)
    Suppression.objects.add(HANA, why="bounced", details="there is no Hana Sato")
    assert {secret for _, secret in kept_of_the_person()} == set(SECRETS)
    answer = forget(api)
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    work_off()
    done = api.get(answer["Location"]).json()
    assert (done["state"], done["orders"]) == ("done", 2)
    assert kept_of_the_person() == set()
    for order in before:
        now = api.get(order["links"]["self"]).json()
        nothing = STRANGER | {"email": ""}
        moved = {"version": order["version"] + 1, "updated_at": now["updated_at"]}
        assert now == {**order, **nothing, **moved}
        assert Event.objects.get(subject=order["id"], seq=now["version"]).kind == "order.erased"
        name = order["external_id"]
        body = PERSON | {"email": order["email"], "external_id": name}
        repeat = api.place(order_body(**body), key=name)
        assert (repeat.status_code, repeat.json(), repeat["Idempotent-Replayed"]) == (
            200,
            now,
            "true",
        )
    assert api.get(other["links"]["self"]).json() == other
    assert list(broken(STOCK | MONEY, limit=9)) == []
    call_command("audit")


def test_nor_what_was_answered_when_it_was_paid_later(
    api: Api, stock: Any, order_body: Body, postbox: Postbox
) -> None:
    stock()
    bodies = {
        "mark-paid": {"method": "manual"},
        "payments": {"token": "tok_declined", "attempts": 2},
    }
    for word, payment in bodies.items():
        body = order_body(**PERSON, external_id=word, payment=payment)
        path = api.place(body, key=word).json()["links"]["self"]
        work_off()
        money = {"token": "tok_ok"} if word == "payments" else {}
        assert post(api, f"{path}/{word}", money, f"{word}-paid").status_code in (200, 202)
        work_off()
        post(api, f"{path}/fulfilments")
    forget(api)
    work_off()
    assert kept_of_the_person() == set()
    again = post(api, f"{path}/payments", {"token": "tok_ok"}, "payments-paid")
    assert (again.status_code, again.json()) == (200, api.get(path).json())


def test_nor_who_withdrew_from_a_contract(api: Api, ended: Callable[..., Any]) -> None:
    path = ended("one")["links"]["self"]
    with transaction.atomic():
        withdraw(Order.objects.locked(Order.objects.get().pk), name="Hana Sato")
    withdrawal = api.get(path).json()["withdrawal"]
    assert withdrawal["name"] == "Hana Sato"
    forget(api)
    work_off()
    assert kept_of_the_person() == set()
    assert api.get(path).json()["withdrawal"] == {**withdrawal, "name": None}
    withdrawn = Event.objects.get(kind="order.withdrawn").data["order"]["withdrawal"]
    received = Event.objects.get(kind="order.received").data["order"]["withdrawal"]
    assert (withdrawn, received) == ({**withdrawal, "name": None}, None)


def test_an_erased_order_takes_nobody_again(
    api: Api, ended: Callable[..., Any], settings: Any
) -> None:
    """It is not to be sent without an address, and a withdrawal from it gets no receipt."""
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 14}
    order = ended("one")
    path, page = order["links"]["self"], f"{order['links']['status_page']}withdraw/"
    [parcel] = api.get(f"{path}/fulfilments").json()["data"]
    forget(api)
    work_off()
    erased = api.get(path).json()
    for answer in (
        post(api, f"{path}/fulfilments/{parcel['id']}/cancel"),
        api.patch(path, {"email": HANA}, content_type="application/json"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/order-erased")
    assert api.patch(path, {"email": ""}, content_type="application/json").status_code == 422
    assert HttpClient().post(page, {"name": "Hana"}).status_code == 409
    assert (api.get(path).json(), kept_of_the_person()) == (erased, set())


def test_an_erasure_says_who_asked_and_how_many_and_not_for_whom(
    api: Api, ended: Callable[..., Any]
) -> None:
    ended("one")
    forget(api), forget(api)
    work_off()
    erasure = Erasure.objects.get()
    assert (erasure.by, erasure.orders, erasure.email) == (ApiKey.objects.get().prefix, 1, "")
    forget(api)
    work_off()
    assert list(Erasure.objects.order_by("pk").values_list("orders", flat=True)) == [1, 0]


def test_many_orders_are_erased_some_at_a_time(
    api: Api, ended: Callable[..., Any], settings: Any
) -> None:
    settings.ERASE_ORDERS = 2
    for name in "abc":
        ended(name)
    erasure = Erasure.objects.get(pk=forget(api).json()["id"])
    run(str(erasure.pk))
    erasure.refresh_from_db()
    assert (erasure.orders, erasure.state, Order.objects.filter(email="").count()) == (
        2,
        "running",
        2,
    )
    work_off()
    erasure.refresh_from_db()
    assert (erasure.orders, erasure.state) == (3, "done")


def test_an_order_under_way_is_named_and_nothing_is_erased(
    api: Api, ended: Callable[..., Any], stock: Any, order_body: Body
) -> None:
    ended("one")
    open_order = api.place(order_body(**PERSON, external_id="open"), key="open").json()
    answer = forget(api)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/orders-under-way")
    assert open_order["number"] in answer.json()["detail"]
    work_off()
    assert (Erasure.objects.count(), Order.objects.filter(email="").count()) == (0, 0)
    post(api, f"{open_order['links']['self']}/cancel")
    assert forget(api).status_code == 202


def test_rows_of_an_import_that_name_the_person_are_under_way(api: Api, shop: Client) -> None:
    batch = Import.objects.create(client=shop, form="ndjson", rows=1, total=1)
    row = '{"email": "hana@example.com"}'
    ImportRow.objects.create(batch=batch, at=0, line=1, said=row, fault="")
    assert "an import" in forget(api).json()["detail"]
    assert forget(api, "taro@example.com").status_code == 202


def test_an_order_that_is_placed_meanwhile_stays(
    api: Api, ended: Callable[..., Any], order_body: Body
) -> None:
    ended("one")
    forget(api)
    path = api.place(order_body(**PERSON, external_id="new"), key="new").json()["links"]["self"]
    work_off()
    assert Erasure.objects.get().orders == 1
    assert api.get(path).json()["email"] == HANA


def test_a_verb_that_waits_for_an_erasure_tells_nothing_of_the_person(
    api: Api, ended: Callable[..., Any], hand: Hand
) -> None:
    """It has found the order before, and goes on when the erasure has committed."""
    order = ended("one")
    forget(api)
    erasure = str(Erasure.objects.get().pk)
    hand.open_transaction()
    with transaction.atomic():
        run(erasure)
        refund = hand.begin(
            lambda: post(api, f"{order['links']['self']}/refunds", {"amount": 1, "reason": "late"})
        )
        hand.wait_until_blocked()
    assert refund.result(timeout=10).status_code == 202
    hand.commit()
    assert kept_of_the_person() == set()


def test_an_erasure_that_waits_for_a_verb_comes_after_it(
    api: Api, ended: Callable[..., Any], hand: Hand
) -> None:
    order = ended("one")
    erasure = forget(api).json()["id"]
    path = order["links"]["self"]
    hand.open_transaction()
    hand.do(lambda: post(api, f"{path}/refunds", {"amount": 1, "reason": "late"}))
    with Hand() as other:
        erasing = other.begin(lambda: run(erasure))
        other.wait_until_blocked()
        hand.commit()
        erasing.result(timeout=10)
    now = api.get(path).json()
    assert (now["version"], now["refund_pending"]) == (order["version"] + 2, 1)
    assert kept_of_the_person() == set()


@pytest.fixture
def mailed(api: Api, stock: Any, order_body: Body, postbox: Postbox) -> str:
    """The order of which two mails wait: that it has come, and that it was cancelled."""
    stock()
    path: str = api.place(order_body(**PERSON)).json()["links"]["self"]
    post(api, f"{path}/cancel")
    return path.rpartition("/")[2]


def mails_of(order_id: str) -> list[tuple[str, str]]:
    about = Delivery.objects.mails_about(UUID(order_id))
    return sorted(about.values_list("state", "target"))


def test_a_mail_that_waits_is_not_sent_any_more(api: Api, mailed: str, postbox: Postbox) -> None:
    assert mails_of(mailed) == [("waiting", HANA)] * 2
    run(forget(api).json()["id"])
    work_off()
    assert (postbox.mails, mails_of(mailed)) == ([], [("failed", "")] * 2)


@pytest.mark.parametrize(("refusals", "state", "arrived"), [(0, "delivered", 1), (1, "failed", 0)])
def test_a_mail_that_is_being_sent_arrives_or_is_not_tried_again(
    api: Api,
    mailed: str,
    postbox: Postbox,
    hand: Hand,
    refusals: int,
    state: str,
    arrived: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The erasure commits while the mail server takes the mail."""
    take, erasures = postbox.handle_DATA, [lambda: run(forget(api).json()["id"])]

    async def meanwhile(*arguments: Any) -> str:
        if erasures:
            await asyncio.to_thread(hand.do, erasures.pop())
        return await take(*arguments)

    monkeypatch.setattr(postbox, "handle_DATA", meanwhile)
    postbox.refusals = refusals
    work_off(ahead=timedelta(days=3))
    assert (len(postbox.mails), erasures) == (arrived, [])
    assert mails_of(mailed) == sorted([("failed", ""), (state, "")])
    assert kept_of_the_person() == set()


def test_an_answer_that_was_waited_for_meanwhile_is_the_erased_one(
    api: Api, shop: Client, mailed: str
) -> None:
    """Whoever waits has read the order before it was erased, and keeps its answer after that."""
    read = api.get(f"/v1/orders/{mailed}").content.decode()
    run(forget(api).json()["id"])
    kept = IdempotencyKey.objects.decide(shop, "key-1", status=200, body=read)
    assert (json.loads(kept.body or ""), kept_of_the_person()) == (
        api.get(f"/v1/orders/{mailed}").json(),
        set(),
    )


def test_endpoints_are_told_that_an_order_was_erased(
    api: Api, shop: Client, ended: Callable[..., Any], sink: WebhookSink
) -> None:
    order = ended("one")
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["order.erased"], quick=True)
    forget(api)
    work_off()
    [(_, body)] = sink.heard
    assert (b"order.erased" in body, order["id"].encode() in body) == (True, True)
    assert b"Hana" not in body


def test_another_clients_orders_are_nobodys_to_forget(api: Api, ended: Callable[..., Any]) -> None:
    order = ended("one")
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    location = forget(stranger)["Location"]
    work_off()
    assert api.get(order["links"]["self"]).json() == order
    assert api.get(location).status_code == 404
    assert stranger.get(location).json()["orders"] == 0
    reader = Api(ApiKey.objects.issue(Client.objects.get(name="shop"), ["orders:write"]))
    assert forget(reader).json()["type"] == "/problems/missing-scope"


def test_what_is_kept_about_a_person_is_given_out(api: Api, ended: Callable[..., Any]) -> None:
    orders = [ended("one"), ended("two")][::-1]
    ended("three", email="taro@example.com")

    def export(query: str = "") -> Any:
        path = f"/v1/customers/export?{query}"
        return api.post(path, {"email": HANA.lower()}, content_type="application/json").json()

    kept = export()
    assert [one["order"] for one in kept["data"]] == orders
    first = kept["data"][0]
    assert [event["data"]["order"] for event in first["events"]][-1] == orders[0]
    assert {mail["to"] for mail in first["mails"]} == {HANA}
    page = export("limit=1")
    assert [one["order"]["id"] for one in export(f"after={page['next']}")["data"]] == [
        orders[1]["id"]
    ]
    forget(api)
    work_off()
    assert export() == {"data": [], "next": None}
