"""However a day is cut into parts, they add up to what counting event by event gives."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid5

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.models import Event
from orders.models import Client
from orders.reports import figures
from orders.reports.days import Day, day_of
from orders.reports.models import Computation, DailyReport, HourFigure, SkuFigure

pytestmark = pytest.mark.django_db
DAYS = [
    ("Asia/Tokyo", date(2025, 11, 18)),
    ("Europe/Berlin", date(2025, 3, 30)),
    ("Europe/Berlin", date(2025, 10, 26)),
    ("Australia/Lord_Howe", date(2025, 10, 5)),
    ("Africa/Cairo", date(2025, 4, 25)),
    ("America/Havana", date(2025, 11, 2)),
    ("Pacific/Apia", date(2011, 12, 30)),
]
CLIENTS = [UUID(int=1), UUID(int=2)]
TOP = 3
Told = dict[str, Any]

# Some events stand on the edges of the day and of its hours, some of them at the same moment.
moments = st.one_of(
    st.integers(-3, 28).map(lambda hours: timedelta(hours=hours)),
    st.integers(-7200, 100_000).map(lambda seconds: timedelta(seconds=seconds)),
    st.integers(0, 27).map(lambda hours: timedelta(hours=hours, microseconds=-1)),
)
lines = st.lists(
    st.fixed_dictionaries(
        {
            "sku": st.sampled_from("ABCDEF"),
            "name": st.sampled_from(["鮭", "Lachs", "salmon"]),
            "quantity": st.integers(1, 4),
            "unit_price": st.integers(0, 3),
            "discount": st.just(0),
            "tax": st.integers(0, 2),
        }
    ),
    min_size=1,
    max_size=3,
)
lives = st.fixed_dictionaries(
    {
        "client": st.sampled_from(CLIENTS),
        "currency": st.sampled_from(["EUR", "JPY", "KWD"]),
        "lines": lines,
        "captured": st.integers(0, 500),
        "is_confirmed": st.booleans(),
        "refunds": st.lists(st.integers(-50, 99), max_size=4),  # a bank may send one back
        "others": st.integers(0, 2),
        "at": st.lists(moments, min_size=9, max_size=9).map(sorted),
    }
)


def events_of(number: int, life: Told, begin: datetime) -> list[Event]:
    """Received; perhaps confirmed; other things; and refunds, each with all that the order has come
    to by then.
    """
    kinds = [
        "order.received",
        *["order.confirmed"] * life["is_confirmed"],
        *["order.held"] * life["others"],
    ]
    kinds += ["order.refunded"] * len(life["refunds"])
    captured = refunded = 0
    refunds = iter(life["refunds"])
    written = []
    for seq, (kind, offset) in enumerate(zip(kinds, life["at"], strict=False), start=1):
        if kind == "order.confirmed":
            captured = life["captured"]
        if kind == "order.refunded":
            refunded += next(refunds)
        order = {
            "currency": life["currency"],
            "captured": captured,
            "refunded": refunded,
            "lines": life["lines"],
        }
        subject, data = uuid5(CLIENTS[0], str(number)), {"order": order}
        written.append(
            Event(
                kind=kind,
                subject=subject,
                seq=seq,
                owner=life["client"],
                data=data,
                at=begin + offset,
            )
        )
    return written


def counted(events: list[list[Event]], day: date, client: UUID | None) -> dict[str, Any]:
    """By hand: one event after another, by what the shop's clocks show."""
    hours = Day(day).hours()
    by_hour: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    by_sku: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, ""]))
    for life in events:
        for earlier, event in pairwise([None, *life]):
            assert event is not None
            if day_of(event.at) != day or client not in (None, event.owner):
                continue
            now, then = (
                event.data["order"],
                earlier.data["order"] if earlier else {"captured": 0, "refunded": 0},
            )
            moved = [
                int(event.kind == "order.confirmed"),
                *(now[m] - then[m] for m in ("captured", "refunded")),
            ]
            if any(moved):
                hour = max(index for index, begin in enumerate(hours) if begin <= event.at)
                entry = by_hour[now["currency"]][hour]
                entry[:] = [a + b for a, b in zip(entry, moved, strict=True)]
            for line in now["lines"] * moved[0]:
                sold = by_sku[now["currency"]][line["sku"]]
                sold[0] += line["quantity"] * line["unit_price"] + line["tax"]
                sold[1] += line["quantity"]
                sold[2] = max(sold[2], line["name"])
    return {
        currency: {
            "hours": {hour: tuple(entry) for hour, entry in of_hours.items() if any(entry)},
            "total": tuple(map(sum, zip(*of_hours.values(), strict=True))),
            "top": sorted((-a, -q, sku, name) for sku, (a, q, name) in by_sku[currency].items())[
                :TOP
            ],
        }
        for currency, of_hours in by_hour.items()
    }


def by_currency(of_currencies: figures.Figures) -> dict[str, Any]:
    """What a report says, in the shape of `counted`; its sums are checked on the way."""
    hours = [hour for of in of_currencies for hour in of["by_hour"]]
    for amounts in [*of_currencies, *hours]:
        assert amounts["net"] == amounts["gross"] - amounts["refunds"]
    assert [of["currency"] for of in of_currencies] == sorted(
        of["currency"] for of in of_currencies
    )
    return {
        of["currency"]: {
            "hours": {
                index: amounts
                for index, hour in enumerate(of["by_hour"])
                if any(amounts := (hour["orders"], hour["gross"], hour["refunds"]))
            },
            "total": (of["orders"], of["gross"], of["refunds"]),
            "top": [
                (-sold["amount"], -sold["quantity"], sold["sku"], sold["name"])
                for sold in of["top_skus"]
            ],
        }
        for of in of_currencies
    }


def computed(day: Day) -> dict[UUID | None, Any]:
    """Part by part, as the jobs do it, in any order."""
    computation = Computation.objects.begin(day, day.settled_at)
    assert computation is not None
    for begin, end in reversed(computation.parts()):
        computation.keep_part(begin, end)
    computation.add_up()
    assert (HourFigure.objects.count(), SkuFigure.objects.count()) == (0, 0)
    return {
        report.client_id: by_currency(report.figures)
        for report in DailyReport.objects.filter(day=day.date)
    }


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(DAYS), st.lists(lives, max_size=8), st.integers(1, 12))
def test_the_parts_add_up_to_what_counting_by_hand_gives(
    db: None, zone_and_date: tuple[str, date], lived: list[Told], size: int
) -> None:
    zone, date_ = zone_and_date
    with (
        override_settings(TIME_ZONE=zone, REPORT_PART_EVENTS=size, REPORT_TOP_SKUS=TOP),
        transaction.atomic(),
    ):
        day = Day(date_)
        Client.objects.bulk_create(Client(pk=client, name=str(client)) for client in CLIENTS)
        events = [events_of(number, life, day.begin) for number, life in enumerate(lived)]
        Event.objects.bulk_create(event for life in events for event in life)
        found = computed(day)
        for client in (None, *CLIENTS):
            by_hand = counted(events, date_, client)
            assert found.get(client, {}) == by_hand
            if client:
                assert by_currency(figures.at_once(client, day, until=day.end)) == by_hand
        transaction.set_rollback(True)


@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(lives, max_size=8))
def test_the_days_of_an_order_add_up_to_what_it_has_come_to(db: None, lived: list[Told]) -> None:
    begin = Day(date(2025, 11, 18)).begin
    with transaction.atomic():
        Client.objects.bulk_create(Client(pk=client, name=str(client)) for client in CLIENTS)
        events = [events_of(number, life, begin) for number, life in enumerate(lived)]
        Event.objects.bulk_create(event for life in events for event in life)
        days = [computed(Day(date(2025, 11, day))).get(None, {}).values() for day in (17, 18, 19)]
        totals = [of["total"] for of_currencies in days for of in of_currencies]
        last = [life[-1].data["order"] for life in events]
        assert sum(gross for _, gross, _ in totals) == sum(order["captured"] for order in last)
        assert sum(refunds for _, _, refunds in totals) == sum(order["refunded"] for order in last)
        transaction.set_rollback(True)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_parts_cover_the_day_once_and_have_a_bounded_number_of_events(
    db: None, settings: Any, size: int
) -> None:
    settings.REPORT_PART_EVENTS = size
    day = Day(date(2025, 11, 18))
    Event.objects.bulk_create(
        Event(
            kind="order.received",
            subject=UUID(int=n),
            seq=1,
            owner=CLIENTS[0],
            data={},
            at=day.begin + offset,
        )
        for n, offset in enumerate(timedelta(minutes=7 * n) for n in range(-3, 210))
    )
    parts = figures.parts(day, until=day.settled_at)
    assert [begin for begin, _ in parts] == [day.begin, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == day.end
    sizes = [Event.objects.filter(at__gte=begin, at__lt=end).count() for begin, end in parts]
    assert (max(sizes), sum(sizes)) == (min(size, 206), 206) if size < 206 else (206, 206)
    assert len(parts) == -(-206 // size)


def test_goods_are_ranked_by_amount_then_by_units_then_by_sku(db: None, settings: Any) -> None:
    settings.REPORT_TOP_SKUS = 4
    day, shop = Day(date(2025, 11, 18)), Client.objects.create(name="shop")
    rows = [
        ("A", 1, 500),
        ("D", 1, 600),
        ("C", 2, 300),
        ("B", 3, 200),
        ("E", 3, 200),
        ("F", 1, 601),
    ]
    sold = [
        {"sku": sku, "name": "", "quantity": quantity, "unit_price": price, "discount": 0, "tax": 0}
        for sku, quantity, price in rows
    ]
    data = {"order": {"currency": "JPY", "lines": sold}}
    Event.objects.create(
        kind="order.confirmed", subject=UUID(int=9), seq=1, owner=shop.pk, data=data, at=day.begin
    )
    [figures_of_yen] = figures.at_once(shop.pk, day, until=day.end)
    assert [sold["sku"] for sold in figures_of_yen["top_skus"]] == ["F", "B", "E", "C"]
