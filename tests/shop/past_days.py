"""Orders of some day in the past: made by the real verbs, then moved there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import count
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications.models import Event
from orders import tasks
from orders.inputs.order import OrderInput
from orders.models import Asked, Client, Order, Refund
from orders.reports.days import shop_zone
from orders.reports.models import DailyReport
from orders.tasks import place

DAY = date(2025, 11, 18)
Sell = Callable[..., Order]


def clock(text: str, day: date = DAY) -> datetime:
    """What the shop's clocks show, as in clock("09:30")."""
    return datetime.fromisoformat(f"{day}T{text}").replace(tzinfo=shop_zone())


@pytest.fixture
def sell(
    shop: Client, stock: Callable[..., Any], order_body: Callable[..., dict[str, Any]]
) -> Sell:
    """Place an order and let it be worked off; all that happened to it happened at that time."""
    stock()
    ids = count()

    def sell(moment: datetime, *, client: Client | None = None, **changes: Any) -> Order:
        body = order_body(**{"external_id": f"o-{next(ids)}", **changes})
        with transaction.atomic():
            order = place(client or shop, OrderInput.model_validate(body))
        work_off()
        Event.objects.filter(subject=order.pk).update(at=moment)
        return Order.objects.get(pk=order.pk)

    return sell


def give_back(order: Order, amount: int, moment: datetime) -> None:
    """Refund so much of it; the money was back at that time."""
    with transaction.atomic():
        tasks.give_back(
            Refund.objects.promise(Order.objects.locked(order.pk), Asked(amount), reason="returned")
        )
    work_off()
    last = Event.objects.filter(subject=order.pk, kind="order.refunded").latest("seq")
    Event.objects.filter(pk=last.pk).update(at=moment)


@pytest.fixture
def now_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], Any]:
    """`with now_is(clock("12:00")): …` for what asks Python's clock."""

    @contextmanager
    def set_clock(moment: datetime) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr("orders.reports.asked.timezone.now", lambda: moment)
            yield

    return set_clock


def everybodys(day: date = DAY) -> DailyReport:
    return DailyReport.objects.get(day=day, client=None)


def totals(figures: list[dict[str, Any]]) -> dict[str, tuple[int, int, int, int]]:
    return {of["currency"]: (of["orders"], of["gross"], of["refunds"], of["net"]) for of in figures}


def by_hour(of_currency: dict[str, Any]) -> dict[str, tuple[int, int, int, int]]:
    """The hours in which something moved."""
    return {
        hour["hour"][11:16]: (hour["orders"], hour["gross"], hour["refunds"], hour["net"])
        for hour in of_currency["by_hour"]
        if hour["orders"] or hour["gross"] or hour["refunds"]
    }


def in_the_future() -> date:
    return date(timezone.now().year + 2, 1, 1)
