"""GET /v1/events: what webhooks tell, for those who ask; beside a real server that listens."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications import events
from notifications.models import Endpoint, Event
from orders.models import ApiKey, Client
from tests.doubles.edges import WebhookSink
from tests.postgres.hands import Hand
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/v1/events"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
Happen = Callable[..., str]
Body = Callable[..., dict[str, Any]]


@pytest.fixture
def hand() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


@pytest.fixture
def happen(shop: Client) -> Happen:
    """An event of an order of its own; its id."""

    def record(kind: str = "order.held", *, owner: UUID | None = shop.pk) -> str:
        subject = uuid4()
        with transaction.atomic():
            events.record(kind, subject=subject, seq=1, owner=owner, data={"n": str(subject)})
        return str(Event.objects.get(subject=subject).pk)

    return record


def ids(api: Api, **query: Any) -> list[str]:
    return [event["id"] for event in api.get(PATH, query).json()["data"]]


def test_who_asks_is_told_what_a_webhook_tells(
    api: Api, shop: Client, stock: Any, order_body: Body, sink: WebhookSink, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True)
    stock()
    with events.as_of(LONG_AGO):  # its place is where it was recorded
        api.place(order_body(), key="key-1")
    work_off()
    listed = api.get(PATH).json()
    without_ids = [
        {name: event[name] for name in event if name != "id"} for event in listed["data"]
    ]
    heard = {body["type"]: body for body in (json.loads(body) for _, body in sink.heard)}
    assert len(sink.heard) == len(without_ids) >= 3
    assert {event["type"]: event for event in without_ids} == heard
    assert [event["data"]["order"]["version"] for event in without_ids] == sorted(
        event["data"]["order"]["version"] for event in without_ids
    )
    assert (without_ids[0]["timestamp"], listed["next"]) == (LONG_AGO.isoformat(), None)


def test_pages_go_on_after_the_last_event_that_one_has(api: Api, happen: Happen) -> None:
    happened = [happen() for _ in range(5)]
    first = api.get(PATH, {"limit": 2}).json()
    assert ([event["id"] for event in first["data"]], first["next"]) == (happened[:2], happened[1])
    assert ids(api, after=first["next"], limit=2) == happened[2:4]
    assert ids(api, after=happened[-1]) == []
    newest = happen()
    assert ids(api, after=happened[-1]) == [newest]


def test_nothing_is_missed_that_is_committed_late(api: Api, happen: Happen, hand: Hand) -> None:
    earlier = happen()
    hand.open_transaction()
    late = hand.do(happen)
    soon = happen()
    assert ids(api, after=earlier) == [], "neither: one before it may still come"
    hand.commit()
    assert ids(api, after=earlier) == [late, soon]


def test_events_of_a_moment_and_of_releases_before_are_each_listed_once(
    api: Api, happen: Happen
) -> None:
    moment = timezone.now() - timedelta(days=1)
    old, same = (sorted(happen() for _ in range(count)) for count in (2, 3))
    new = happen()
    Event.objects.filter(pk__in=old).update(recorded_at=None, at=moment - timedelta(days=1))
    Event.objects.filter(pk__in=same).update(recorded_at=moment)
    seen, after = list[str](), dict[str, str]()
    for _ in range(7):
        seen += (found := ids(api, limit=1, **after))
        after = {"after": seen[-1]}
    assert (seen, found) == ([*old, *same, new], [])
    assert ids(api, since=moment.isoformat()) == [*same, new]
    assert ids(api, since=(moment + timedelta(days=1)).isoformat()) == [new]


def test_kinds_of_events_are_chosen_and_the_stock_is_for_those_who_may_see_it(
    api: Api, shop: Client, happen: Happen
) -> None:
    held, low, paid = happen(), happen("stock.low", owner=None), happen("order.paid")
    happen("report.daily", owner=None)  # the shop's own
    reader = Api(ApiKey.objects.issue(shop, ["orders:read"]))
    assert (ids(api), ids(reader)) == ([held, low, paid], [held, paid])
    assert ids(api, type="order.paid,stock.low,order.paid") == [low, paid]
    assert ids(reader, type="order.held") == [held]
    refused = reader.get(PATH, {"type": "order.held,stock.low"})
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "This key lacks the scope stock:read.",
    )


def test_a_stranger_is_told_nothing_and_another_key_may_not_ask(
    api: Api, shop: Client, happen: Happen
) -> None:
    ours, low = happen(), happen("stock.low", owner=None)
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    assert (ids(stranger), ids(stranger, after=low)) == ([low], [])
    assert stranger.get(PATH, {"after": ours}).status_code == 422
    other = Api(ApiKey.objects.issue(shop, ["webhooks:read"]))
    assert other.get(PATH).json()["type"] == "/problems/missing-scope"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("type=", "/query/type"),
        ("type=*", "/query/type"),
        ("type=order.paid,order.eaten", "/query/type"),
        ("type=report.daily", "/query/type"),
        ("since=2026", "/query/since"),
        ("after=7", "/query/after"),
        (f"after={UUID(int=7)}", "/query/after"),
        ("limit=101", "/query/limit"),
        ("types=order.paid", "/query/types"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(api: Api, query: str, pointer: str) -> None:
    response = api.get(f"{PATH}?{query}")
    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_the_erased_are_in_none_nor_in_what_webhooks_were_answered(
    api: Api, shop: Client, stock: Any, order_body: Body, sink: WebhookSink, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    endpoint = Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True)
    sink.body = b"thanks, hana@example.com"
    stock()
    order = api.place(order_body(email="hana@example.com"), key="key-1").json()["id"]
    work_off()
    post(api, f"/v1/orders/{order}/cancel")
    work_off()
    deliveries = f"/v1/webhook-endpoints/{endpoint.pk}/deliveries"
    newest = api.get(deliveries).json()["data"][0]["id"]

    def naming_the_person() -> list[bool]:
        answers = (api.get(PATH), api.get(f"{deliveries}/{newest}"))
        return [b"hana@example.com" in answer.content for answer in answers]

    assert naming_the_person() == [True, True]
    sink.body = b""
    post(api, "/v1/customers/erase", {"email": "hana@example.com"})
    work_off()
    assert naming_the_person() == [False, False]
    assert api.get(PATH).json()["data"][-1]["type"] == "order.erased"


def test_an_event_is_stamped_after_its_transaction_is_seen_under_way() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attnum = adnum"
            " AND attrelid = adrelid WHERE adrelid = 'notifications_event'::regclass"
            " AND attname = 'recorded_at'"
        )
        [default] = cursor.fetchone()
    assert default.index("pg_current_xact_id()") < default.index("clock_timestamp()")
