"""`Prefer: wait=N`: what of it is read, and what it answers."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connection

from api.conventions import prefer_wait
from api.conventions.prefer_wait import preferred_wait_s
from celery_ledger.testing import work_off
from orders.models import ApiKey, Client, IdempotencyKey, Order
from tests.promises.processes import Stack, Web
from tests.shop import Api
from tests.waiting import until

Body = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        ("", 0),
        ("wait=5", 5),
        ("WAIT=5", 5),
        ('wait="5"', 5),
        ("wait = 5", 5),
        ("wait=007", 7),
        ("respond-async, wait=5", 5),
        ("wait=5; strict, handling=lenient", 5),
        (", ,wait=5,", 5),
        ('note="a, wait=3", wait=5', 5),
        ('note="\\", wait=3", wait=5', 5),
        ("wait=3, wait=5", 3),
        ("wait=60", 10),
        ("wait=" + "9" * 5000, 10),
        ("wait=0", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=soon", 0),
        ("wait=soon, wait=5", 0),
        ("wait=٥", 0),
        ("wait=5 please", 0),
        ("wait=5, (", 0),
        ('wait=5, note="', 0),
        ("waiting=5", 0),
        ("respond-async", 0),
        (";" * 8000, 0),
        ("a;" * 4000, 0),
        ("a" + "; " * 4000 + '"', 0),
        ("a" + "; " * 40 + ", wait=5", 5),
    ],
)
def test_what_can_be_read_is_waited_for_and_the_rest_is_ignored(prefer: str, wait_s: int) -> None:
    assert preferred_wait_s(prefer) == wait_s


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["PREFER_WAIT_PLACES", "PREFER_WAIT_MAX_S"])
def test_limits_that_would_stop_the_others_are_found_at_boot(settings: Any, name: str) -> None:
    assert run_checks() == []
    setattr(settings, name, 99)
    [error] = run_checks()
    assert (error.id, name in error.msg) == ("orders.E001", True)


def preferring(api: Api, body: Any, prefer: str, key: str = "k") -> Any:
    headers = {"Idempotency-Key": key, "Prefer": prefer}
    return api.post("/v1/orders", body, content_type="application/json", headers=headers)


@pytest.mark.django_db(transaction=True)
def test_an_order_that_is_not_decided_in_time_is_accepted_with_202(
    api: Api, stock: Any, order_body: Body, settings: Any
) -> None:
    stock()
    plain = preferring(api, order_body(), "wait=soon")
    assert (plain.status_code, plain.headers.get("Preference-Applied")) == (202, None)
    waited = preferring(api, order_body(), "wait=1")
    assert (waited.status_code, waited["Preference-Applied"], waited["Idempotent-Replayed"]) == (
        202,
        "wait=1",
        "true",
    )
    assert waited.content == plain.content


@pytest.mark.django_db(transaction=True)
def test_the_answer_that_ends_the_wait_is_the_answer_from_then_on(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    accepted = preferring(api, order_body(), "")
    work_off()
    decided = preferring(api, order_body(), "wait=10")
    assert (decided.status_code, decided.json()["state"], decided["Location"]) == (
        200,
        "confirmed",
        accepted["Location"],
    )
    api.post(
        f"{accepted['Location']}/fulfilments",
        {},
        content_type="application/json",
        headers={"Idempotency-Key": "f"},
    )
    for prefer in ("", "wait=10"):
        again = preferring(api, order_body(), prefer)
        assert (again.status_code, again.content, again["Idempotent-Replayed"]) == (
            200,
            decided.content,
            "true",
        )
    assert Order.objects.get().state == "completed"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_wait_both_get_the_answer_of_the_first(
    api: Api, shop: Client, stock: Any, order_body: Body
) -> None:
    stock()
    preferring(api, order_body(), "")
    first = IdempotencyKey.objects.decide(shop, "k", status=200, body="one")
    second = IdempotencyKey.objects.decide(shop, "k", status=200, body="two")
    assert (first.body, second.body) == ("one", "one")


@pytest.mark.django_db(transaction=True)
def test_an_order_that_cannot_be_watched_is_accepted_all_the_same(
    api: Api, stock: Any, order_body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock()

    def broken(*_: Any, **__: Any) -> Any:
        raise OperationalError("the line is cut")

    monkeypatch.setattr(prefer_wait, "_decided", broken)
    assert (preferring(api, order_body(), "wait=1").status_code, Order.objects.count()) == (202, 1)


def ask(web: Web, key: str, body: Any, prefer: str, idempotency_key: str) -> tuple[int, Any, Any]:
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency_Key": idempotency_key,
        "Prefer": prefer,
    }
    return web.ask("POST", "/v1/orders", body, **headers)


def waits(number: int) -> bool:
    """So many sessions of the web process look at the order again and again, and none holds a
    transaction open.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT count(*) FILTER (WHERE query LIKE \'SELECT 1 AS "a" FROM "orders_order"%\'),'
            " count(*) FILTER (WHERE state LIKE 'idle in transaction%') FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        return bool(cursor.fetchone() == (number, 0))


@pytest.mark.django_db(transaction=True)
def test_those_who_wait_hold_nothing_and_leave_room_for_the_others(
    stack: Stack, shop: Client, stock: Any, order_body: Body, settings: Any
) -> None:
    """No worker runs, so nothing ends the wait of the four, until one begins."""
    stock()
    key = ApiKey.objects.issue(shop, [])
    web = stack.start_web()
    places = settings.PREFER_WAIT_PLACES
    with ThreadPoolExecutor(places) as hands:
        held = [
            hands.submit(
                ask, web, key, order_body(external_id=f"o-{index}"), "wait=10", f"k-{index}"
            )
            for index in range(places)
        ]
        until(lambda: waits(places), "all places are taken and no transaction is open", within_s=9)
        status, answer, _ = ask(web, key, order_body(external_id="more"), "wait=10", "more")
        assert (status, answer.headers["Preference-Applied"]) == (202, None)
        assert [hand.done() for hand in held] == [False] * places
        work_off()
        for status, answer, order in (hand.result(timeout=20) for hand in held):
            assert (status, answer.headers["Preference-Applied"], order["state"]) == (
                200,
                "wait=10",
                "confirmed",
            )
    status, answer, _ = ask(web, key, order_body(external_id="more"), "wait=10", "more")
    assert (status, answer.headers["Preference-Applied"]) == (200, "wait=10"), (
        "a place is free again"
    )


@pytest.mark.django_db(transaction=True)
def test_a_declined_card_ends_the_wait_too(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    worker = threading.Timer(0.3, work_off_here)
    worker.start()
    answer = preferring(api, order_body(payment={"token": "tok_declined"}), "wait=10")
    worker.join()
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (
        200,
        "cancelled",
        "payment_declined",
    )


def work_off_here() -> None:
    """In a thread with a session of its own."""
    try:
        work_off()
    finally:
        connection.close()
