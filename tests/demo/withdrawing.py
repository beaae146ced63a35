"""A customer who withdraws on the order's page: what is sent, and what came of it."""

import re
from collections.abc import Callable
from typing import Any

from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from notifications.events import timeline
from notifications.mail.message import render
from notifications.models import Delivery, Event, Shop
from orders.audit import MONEY, STOCK, broken
from orders.models import Order, OrderLine

BUTTON = "Withdraw from contract here"
ENGLISH = re.compile("(?!lmon nigiri)[a-z]{4} [a-z]{3}")
Bought = Callable[..., Order]


def page_of(order: Order) -> str:
    return f"/o/{order.public_token}/withdraw/"


def now(order: Order) -> Order:
    assert [*broken(STOCK, limit=9), *broken(MONEY, limit=9)] == []
    return Order.objects.get(pk=order.pk)


def withdrawn(visitor: HttpClient, order: Order, **typed: Any) -> Any:
    answer = visitor.post(page_of(order), typed)
    work_off()
    return answer


def chosen(visitor: HttpClient, order: Order, *numbers: Any) -> dict[str, str]:
    """What a browser sends of the statement as it is now, with these numbers in its fields."""
    page = visitor.get(page_of(order)).content.decode()
    fields = dict(
        re.findall(r'<input type="(?:hidden|number)" name="(?!csrf)(\w+)" value="([^"]*)"', page)
    )
    names = [name for name in fields if name.startswith("line_")]
    return fields | {name: str(number) for name, number in zip(names, numbers, strict=True)}


def kinds(order: Order) -> list[str]:
    return [event.kind.removeprefix("order.") for event in timeline(order.pk)]


def units(order: Order) -> tuple[int, int, int]:
    """Of its first line: sent, withdrawn, announced."""
    line = OrderLine.objects.get(order=order, position=0)
    return line.fulfilled, line.withdrawn, line.announced


def mails(order: Order) -> list[str]:
    """The kinds of events that were mailed, without those before the withdrawal."""
    deliveries = Delivery.objects.filter(event__subject=order.pk, channel="mail").order_by("pk")
    mailed = [delivery.event.kind.removeprefix("order.") for delivery in deliveries]
    return [kind for kind in mailed if kind not in ("received", "confirmed", "fulfilled")]


def receipt(order: Order) -> tuple[str, str]:
    """Subject and text of the newest one."""
    event = Event.objects.filter(subject=order.pk, kind="order.withdrawn").latest("seq")
    return render(event, Shop.objects.of(order.client_id))[:2]
