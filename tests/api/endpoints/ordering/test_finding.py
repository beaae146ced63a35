"""Orders found by what people ask for, and by when they changed: none is missed."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from celery_ledger.testing import work_off
from notifications.models.changes import settled_until
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.postgres.hands import Hand
from tests.postgres.plans import plans_of
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Ordered = Callable[..., Order]
PATH = "/v1/orders"
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def ordered(shop: Client, stock: Any, order_body: Callable[..., Any]) -> Ordered:
    stock()
    stock("TAMAGO")

    def order(**changes: Any) -> Order:
        fields = {"external_id": str(uuid4()), **changes}
        with transaction.atomic():
            return place(shop, OrderInput.model_validate(order_body(**fields)))

    return order


@pytest.fixture
def hand() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


def found(api: Api, **query: str) -> list[str]:
    answer = api.get(PATH, query)
    assert answer.status_code == 200, answer.content
    return [order["id"] for order in answer.json()["data"]]


def test_an_order_is_found_as_people_call_it_and_its_customer(api: Api, ordered: Ordered) -> None:
    order = str(
        ordered(
            external_id="web/42",
            email="Hana@Example.com",
            customer={"name": "Hana Sato", "phone": "+81 90-1234-5678"},
            tags=["gift", "vip"],
        ).pk
    )
    ordered(email="hana@example.co", tags=["gifts"], customer={"phone": "090-1234-5679"})
    number = api.get(f"{PATH}/{order}").json()["number"]
    queries: list[dict[str, str]] = [
        {"number": number},
        {"number": number.lower().replace("-", "")},
        {"number": f" {number[:4]} {number[5:]}"},
        {"external_id": "web/42"},
        {"email": "hANA@example.COM"},
        {"customer_name": "hana sato"},
        {"customer_name": "ＨＡＮＡ　ＳＡＴＯ"},
        {"customer_name": "HanaSato"},
        {"phone": "09012345678"},
        {"phone": "０９０－１２３４－５６７８"},
        {"tag": "gift"},
        {"tag": "vip", "email": "hana@example.com", "state": "received", "held": "false"},
    ]
    for query in queries:
        assert found(api, **query) == [order], query
    others: list[dict[str, str]] = [
        {"customer_name": "Hana"},
        {"tag": "gif"},
        {"number": number[:4]},
    ]
    for query in others:
        assert found(api, **query) == [], query
    assert found(api, tag="gift", phone="09012345679") == []


def test_without_a_customer_it_is_the_name_and_phone_of_where_it_goes(
    api: Api, ordered: Ordered
) -> None:
    there = {"name": "佐藤　花", "phone": "03-1234-5678"}
    order = str(ordered(shipping_address=there).pk)
    other = str(ordered(shipping_address=there, customer={"name": "鈴木"}).pk)
    assert found(api, customer_name="佐藤 花") == found(api, customer_name="佐藤花") == [order]
    assert found(api, customer_name="鈴木") == [other]
    assert found(api, phone="+81 3 1234 5678") == [other, order]


def test_an_order_is_found_by_its_goods_once(api: Api, ordered: Ordered) -> None:
    sake = {"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 100}
    both = [sake, {**sake, "unit_price": 50}, {**sake, "sku": "TAMAGO"}]
    order = str(ordered(lines=both, total=250).pk)
    other = str(ordered(lines=[sake], total=100).pk)
    assert found(api, sku="SAKE-NIGIRI") == [other, order]
    assert found(api, sku="TAMAGO") == [order]
    assert found(api, sku="SAKE-NIGIRI", updated_after=LONG_AGO) == [order, other]
    assert found(api, sku="SAKE") == []
    first = api.get(PATH, {"sku": "SAKE-NIGIRI", "limit": "1"}).json()
    assert found(api, sku="SAKE-NIGIRI", limit="1", after=first["next"]) == [order]


def test_what_waits_for_people_is_found(api: Api, ordered: Ordered) -> None:
    held, partial, full = (str(ordered().pk) for _ in range(3))
    work_off()
    post(api, f"{PATH}/{held}/hold")
    lines = [{"position": 0, "quantity": 1}]
    post(api, f"{PATH}/{partial}/fulfilments", {"lines": lines})
    post(api, f"{PATH}/{full}/fulfilments")
    assert found(api, held="true") == found(api, fulfilment_state="none") == [held]
    assert found(api, held="false") == [full, partial]
    assert found(api, fulfilment_state="partial") == [partial]
    assert found(api, fulfilment_state="full", payment_state="paid") == [full]


def test_a_list_ends_before_a_moment(api: Api, ordered: Ordered) -> None:
    old, new = ordered(), ordered()
    assert found(api, created_before=new.created_at.isoformat()) == [str(old.pk)]
    assert found(api, created_before=old.created_at.isoformat()) == []
    between = {"created_after": old.created_at.isoformat(), "created_before": "2999-01-01T00:00Z"}
    assert found(api, **between) == [str(new.pk)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("held=perhaps", "/query/held"),
        ("fulfilment_state=half", "/query/fulfilment_state"),
        ("number=", "/query/number"),
        ("customer_name=%E3%80%80", "/query/customer_name"),
        ("phone=none", "/query/phone"),
        ("sku=", "/query/sku"),
        ("tag=", "/query/tag"),
        ("updated_after=2026", "/query/updated_after"),
        (f"after={UUID(int=7)}&updated_after={LONG_AGO}", "/query/after"),
        (f"after=1.{UUID(int=7)}", "/query/after"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(api: Api, query: str, pointer: str) -> None:
    response = api.get(f"{PATH}?{query}")
    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("query", "index", "by"),
    [
        ({"email": "hana@example.com"}, "order_by_mail", "lower(email) = 'hana@example.com'"),
        ({"customer_name": "Hana Sato"}, "order_by_name", "= 'hanasato'"),
        ({"phone": "090-1234-5678"}, "order_by_phone", "= '12345678'"),
        ({"tag": "gift"}, "order_by_tag", "tags @> '{gift}'"),
        ({"tag": "gift"}, "order_tagged", "client_id ="),
        ({"held": "true"}, "order_by_held", "client_id ="),
        ({"payment_state": "failed"}, "order_by_payment", "payment_state = 'failed'"),
        ({"fulfilment_state": "partial"}, "order_by_fulfilment", "fulfilment_state = 'partial'"),
        ({"sku": "TAMAGO"}, "line_by_sku", "sku = 'TAMAGO'"),
        ({"updated_after": LONG_AGO}, "order_by_change", "updated_at > '2020-01-01"),
    ],
)
def test_each_way_has_its_index(
    api: Api, ordered: Ordered, query: Any, index: str, by: str
) -> None:
    """Also one that is of an expression: Postgres sees that both are the same. No other index of
    its table is there, and no scan of all: what Postgres knows of the rows decides nothing.
    """
    ordered()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid <> %(only)s::regclass AND indrelid ="
            " (SELECT indrelid FROM pg_index WHERE indexrelid = %(only)s::regclass)",
            {"only": index},
        )
        plans = plans_of(lambda: api.get(PATH, query))
        transaction.set_rollback(True)
    [found_by] = [found for plan in plans for found in plan.found_by(index)]
    assert by in found_by


# --- what has changed since -----------------------------------------------------------------------


def changed(api: Api, after: str, **query: Any) -> list[tuple[str, str]]:
    """Pairs of id and updated_at."""
    answer = api.get(PATH, {"updated_after": after, **query}).json()
    return [(order["id"], order["updated_at"]) for order in answer["data"]]


def test_those_that_changed_longest_ago_come_first_page_by_page(api: Api, ordered: Ordered) -> None:
    one, two, three = (ordered() for _ in range(3))
    with transaction.atomic():
        Order.objects.locked(one.pk).hold("look")
    order, seen, cursor = [str(two.pk), str(three.pk), str(one.pk)], [], ""
    for _ in order:
        page = api.get(f"{PATH}?updated_after={LONG_AGO}&limit=1{cursor}").json()
        seen += [one["id"] for one in page["data"]]
        cursor = f"&after={page['next']}"
    assert (seen, page["next"]) == (order, None)
    last = page["data"][0]["updated_at"]
    assert found(api, updated_after=last) == []
    assert found(api, updated_before=last) == order[:2]


def test_whoever_asks_for_changes_misses_none_that_is_committed_late(
    api: Api, ordered: Ordered, hand: Hand
) -> None:
    """The first change is made before the second, and committed after it."""
    late, soon = ordered(), ordered()
    [*_, (_, since)] = changed(api, LONG_AGO)

    def hold(order: Order) -> None:
        Order.objects.locked(order.pk).hold("look")

    hand.open_transaction()
    hand.do(lambda: hold(late))
    with transaction.atomic():
        hold(soon)
    assert changed(api, since) == []  # neither: one before it may still come
    hand.commit()
    [(first, changed_at), (second, _)] = changed(api, since)
    assert (first, second) == (str(late.pk), str(soon.pk))
    assert [id_ for id_, _ in changed(api, changed_at)] == [str(soon.pk)]


def test_a_vacuum_that_is_under_way_holds_no_change_up(
    api: Api, ordered: Ordered, hand: Hand
) -> None:
    """Postgres starts one when it likes: here a session of ours is called by its name."""
    hand.open_transaction()
    hand.do(ordered)
    order = ordered()
    assert changed(api, LONG_AGO) == []
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY VIEW pg_stat_activity AS"
            " SELECT datname, backend_xid, xact_start, CASE WHEN pid = pg_backend_pid()"
            " THEN backend_type ELSE 'autovacuum worker' END AS backend_type"
            " FROM pg_catalog.pg_stat_activity"
        )
        try:
            assert [id_ for id_, _ in changed(api, LONG_AGO)] == [str(order.pk)]
        finally:
            cursor.execute("DROP VIEW pg_temp.pg_stat_activity")


def test_an_order_that_is_placed_late_is_not_missed_either(
    api: Api, ordered: Ordered, hand: Hand
) -> None:
    ordered()
    hand.open_transaction()
    placed = hand.do(ordered)
    later = ordered()
    assert str(later.pk) not in found(api, updated_after=LONG_AGO)
    hand.commit()
    assert found(api, updated_after=LONG_AGO)[-2:] == [str(placed.pk), str(later.pk)]


def test_who_has_begun_and_written_nothing_keeps_nobody_waiting(
    api: Api, ordered: Ordered, hand: Hand
) -> None:
    """Its change will be stamped when it is made, and not when its transaction began."""
    order, other = ordered(), ordered()
    hand.open_transaction()
    hand.do(Order.objects.count)
    with transaction.atomic():
        Order.objects.locked(order.pk).hold("look")
    [*_, (newest, changed_at)] = changed(api, LONG_AGO)
    assert newest == str(order.pk)
    hand.do(lambda: Order.objects.locked(other.pk).hold("look"))
    hand.commit()
    assert [id_ for id_, _ in changed(api, changed_at)] == [str(other.pk)]


def test_a_stranger_in_the_same_postgres_delays_by_as_long_as_ours_may_last(
    ordered: Ordered, hand: Hand, settings: Any
) -> None:
    """Nobody tells when another role's transaction began."""
    ordered()
    hand.open_transaction()
    hand.do(lambda: Client.objects.create(name="under way"))
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE whom_stranger")
        try:
            cursor.execute("SET ROLE whom_stranger")
            cursor.execute("SELECT statement_timestamp()")
            [now] = cursor.fetchone()
            until: datetime = settled_until()
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP ROLE whom_stranger")
    patience = settings.CHANGES_SETTLE
    assert now - patience <= until < now
    hand.commit()
    assert settled_until() > now


def test_a_change_is_stamped_after_its_transaction_is_seen_under_way(ordered: Ordered) -> None:
    """Else a snapshot in between would know nothing of it, and the list go past it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attnum = adnum"
            " AND attrelid = adrelid WHERE adrelid = 'orders_order'::regclass"
            " AND attname = 'updated_at'"
        )
        [default] = cursor.fetchone()
        assert default.index("pg_current_xact_id()") < default.index("clock_timestamp()")
