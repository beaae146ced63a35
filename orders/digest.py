"""What of the shop needs a person, for the staff's digest: orders on hold, goods that run low."""

from django.conf import settings

from notifications import events
from notifications.oversight.digest import LONG_AGO, Matter, matter
from orders.models import Order, Stock


def matters() -> dict[str, Matter | None]:
    return {"held": _held(), "stock": _low()}


def _held() -> Matter | None:
    held = Order.objects.filter(held=True).order_by("-pk")
    columns = held.only("id", "number", "hold_reason", "updated_at")
    orders = list(columns[: settings.DIGEST_COUNTED_MAX + 1])
    rows = [
        {"id": str(order.pk), "number": order.number, "reason": order.hold_reason}
        for order in orders
    ]
    return matter(rows, news_at=max((order.updated_at for order in orders), default=LONG_AGO))


def _low() -> Matter | None:
    """The goods that are low; as long as one is, each that falls is news."""
    low = Stock.objects.low()
    rows = [
        {"sku": stock.sku, "name": stock.name, "free": stock.free, "low_at": stock.low_at}
        for stock in low[: settings.DIGEST_COUNTED_MAX + 1]
    ]
    return matter(rows, news_at=events.last("stock.low") or LONG_AGO)
