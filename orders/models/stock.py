"""Stock: what is on hand, what of it is promised, and every movement that made it so."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

if TYPE_CHECKING:
    from orders.models.order import Order
    from orders.models.order_line import Units

# One statement reserves a whole order, or nothing of it. Rows are locked in id order, so two orders
# of the same goods never deadlock, and without key locks, so that placing an order (which
# references the sku) does not wait for a reservation. Whether enough is there is read of what is
# locked.
RESERVE = """
WITH wanted AS (
    SELECT stock_id, sum(quantity - fulfilled - withdrawn) AS quantity FROM orders_orderline
     WHERE order_id = %(order)s GROUP BY stock_id
), locked AS (
    SELECT stock.id, wanted.quantity, stock.on_hand - stock.reserved >= wanted.quantity AS is_there
      FROM orders_stock AS stock JOIN wanted ON wanted.stock_id = stock.id
     ORDER BY stock.id FOR NO KEY UPDATE OF stock
), enough AS (
    SELECT FROM locked HAVING bool_and(is_there)
), reserved AS (
    UPDATE orders_stock AS stock SET reserved = stock.reserved + locked.quantity
      FROM locked, enough WHERE stock.id = locked.id RETURNING stock.id, locked.quantity
), moved AS (
    INSERT INTO orders_stockmovement
           (stock_id, order_id, kind, on_hand_delta, reserved_delta, reason)
    SELECT id, %(order)s, 'reserved', 0, quantity, '' FROM reserved RETURNING 1
)
SELECT EXISTS (SELECT FROM moved)
"""

# Every other movement, of so many units of each: the same lock order.
MOVE = """
WITH wanted AS (
    SELECT stock_id, sum(quantity)::bigint AS quantity
      FROM unnest(%(stocks)s::bigint[], %(quantities)s::bigint[]) AS asked (stock_id, quantity)
     GROUP BY stock_id HAVING sum(quantity) > 0
), locked AS (
    SELECT stock.id, wanted.quantity
      FROM orders_stock AS stock JOIN wanted ON wanted.stock_id = stock.id
     ORDER BY stock.id FOR NO KEY UPDATE OF stock
), moved AS (
    UPDATE orders_stock AS stock
       SET on_hand = stock.on_hand + locked.quantity * %(on_hand)s,
           reserved = stock.reserved + locked.quantity * %(reserved)s
      FROM locked WHERE stock.id = locked.id RETURNING stock.id, locked.quantity
)
INSERT INTO orders_stockmovement (stock_id, order_id, kind, on_hand_delta, reserved_delta, reason)
SELECT id, %(order)s, %(kind)s, quantity * %(on_hand)s, quantity * %(reserved)s, '' FROM moved
"""


class StockQuerySet(models.QuerySet["Stock"]):
    def reserve(self, order: "Order") -> bool:
        """Promise all goods of this locked order; none, and False, when something is short."""
        with connection.cursor() as cursor:
            cursor.execute(RESERVE, {"order": order.pk})
            return bool(cursor.fetchone()[0])

    def move(self, order: "Order", kind: "StockMovement.Kind", units: "Units") -> None:
        """Release, ship or take back units of lines of this locked order."""
        on_hand, reserved = SIGNS[kind]
        values: dict[str, Any] = {
            "order": order.pk,
            "kind": kind,
            "on_hand": on_hand,
            "reserved": reserved,
            "stocks": [line.stock_id for line, _ in units],
            "quantities": [number for _, number in units],
        }
        with connection.cursor() as cursor:
            cursor.execute(MOVE, values)

    def by_sku(self, skus: Collection[str]) -> dict[str, "Stock"]:
        return {stock.sku: stock for stock in self.filter(sku__in=skus)}

    def know(self, names: dict[str, str]) -> None:
        """Count none of each sku that is not known yet, under these names."""
        unknown = [Stock(sku=sku, name=name) for sku, name in sorted(names.items())]
        self.bulk_create(unknown, ignore_conflicts=True)

    def adjust(self, sku: str, delta: int, *, reason: str) -> "Stock | None":
        """Count up or down; None for an unknown sku. Raises IntegrityError for less than is
        promised.
        """
        with transaction.atomic():
            stock = self.select_for_update(no_key=True).filter(sku=sku).first()
            if stock is None:
                return None
            stock.movements.create(
                kind=StockMovement.Kind.ADJUSTED,
                on_hand_delta=delta,
                reserved_delta=0,
                reason=reason,
            )
            stock.on_hand += delta
            stock.save(update_fields=["on_hand"])
            return stock

    def set_on_hand(self, sku: str, on_hand: int, *, name: str | None) -> "Stock":
        """Count what is there; creates the sku. Raises IntegrityError when less is there than is
        promised.
        """
        with transaction.atomic():
            self.bulk_create([Stock(sku=sku, name=name or "")], ignore_conflicts=True)
            stock = self.select_for_update(no_key=True).get(sku=sku)
            StockMovement.objects.create(
                stock=stock,
                kind=StockMovement.Kind.COUNTED,
                on_hand_delta=on_hand - stock.on_hand,
                reserved_delta=0,
            )
            stock.on_hand = on_hand
            stock.name = stock.name if name is None else name
            stock.save(update_fields=["on_hand", "name"])
            return stock


class Stock(models.Model):
    """One kind of goods. `on_hand` is in the house, `reserved` of it is promised to orders."""

    sku = models.TextField(unique=True)
    name = models.TextField(blank=True, default="")
    on_hand = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)

    objects = StockQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "stock"
        constraints = [
            models.CheckConstraint(
                name="stock_reserved_le_on_hand", condition=Q(reserved__lte=F("on_hand"))
            ),
            models.CheckConstraint(name="stock_reserved_ge_0", condition=Q(reserved__gte=0)),
        ]

    def __str__(self) -> str:
        return self.sku

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class StockMovement(models.Model):
    """A line in the stock's book, never edited: the deltas of one sku add up to its counters."""

    class Kind(models.TextChoices):
        COUNTED = "counted"
        ADJUSTED = "adjusted"
        RESERVED = "reserved"
        RELEASED = "released"
        SHIPPED = "shipped"
        RETURNED = "returned"

    stock = models.ForeignKey(Stock, on_delete=models.PROTECT, related_name="movements")
    order = models.ForeignKey(
        "orders.Order", on_delete=models.PROTECT, null=True, related_name="movements"
    )
    kind = models.TextField(choices=Kind)
    on_hand_delta = models.BigIntegerField()
    reserved_delta = models.BigIntegerField()
    reason = models.TextField(default="", db_default="")  # of an adjustment
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="stock_reserved_once", fields=["order", "stock"], condition=Q(kind="reserved")
            ),
            models.CheckConstraint(
                name="stock_movement_kind",
                condition=Q(
                    kind__in=["counted", "adjusted", "reserved", "released", "shipped", "returned"]
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.stock_id}"


SIGNS = {  # what a unit does to on_hand and to reserved
    StockMovement.Kind.RELEASED: (0, -1),
    StockMovement.Kind.SHIPPED: (-1, -1),
    StockMovement.Kind.RETURNED: (1, 0),
}
