"""How stock is promised, moved, counted and taken out: every statement that locks it."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models import F
from django.utils import timezone

from celery_ledger import together
from notifications import events
from orders.inputs.stock import StockSetting
from orders.models.stocked import finding
from orders.models.stocked.movement import SIGNS, StockMovement
from values.refused import Refused, Sentence, invalid

if TYPE_CHECKING:
    from orders.models.placed.line import Units
    from orders.models.placed.order import Order
    from orders.models.stocked.stock import Stock

SETTABLE = ("on_hand", "name", "counted", "backorder_limit", "low_at", "removed_at")
TOO_LITTLE = "leaves less than what is reserved for orders"

# One statement reserves a whole order, or nothing of it. Rows are locked in id order, so two orders
# of the same goods never deadlock, and without key locks, so that placing an order (which
# references the sku) does not wait for a reservation. Whether enough is there is read of what is
# locked.
RESERVE = """
WITH needed AS (
    SELECT stock_id, sum(quantity - fulfilled - withdrawn) AS quantity FROM orders_orderline
     WHERE order_id = %(order)s GROUP BY stock_id
), locked AS (
    SELECT stock.id, needed.quantity,
           removed_at IS NULL AND (NOT counted
               OR on_hand + backorder_limit - reserved >= needed.quantity) AS is_there,
           counted AND on_hand - reserved > low_at
               AND on_hand - reserved - needed.quantity <= low_at AS falls_low
      FROM orders_stock AS stock JOIN needed ON needed.stock_id = stock.id
     ORDER BY stock.id FOR NO KEY UPDATE OF stock
), enough AS (
    SELECT FROM locked HAVING bool_and(is_there)
), reserved AS (
    UPDATE orders_stock AS stock SET reserved = stock.reserved + locked.quantity
      FROM locked, enough WHERE stock.id = locked.id
    RETURNING stock.id, locked.quantity, locked.falls_low
), moved AS (
    INSERT INTO orders_stockmovement
           (stock_id, order_id, kind, on_hand_delta, reserved_delta, reason)
    SELECT id, %(order)s, 'reserved', 0, quantity, '' FROM reserved RETURNING 1
)
SELECT EXISTS (SELECT FROM moved), ARRAY(SELECT id FROM reserved WHERE falls_low)
"""

# Every other movement, of so many units of each: the same lock order. What is not counted comes and
# goes uncounted, but what of it is promised is known.
MOVE = """
WITH units AS (
    SELECT stock_id, sum(quantity)::bigint AS quantity
      FROM unnest(%(stocks)s::bigint[], %(quantities)s::bigint[]) AS asked (stock_id, quantity)
     GROUP BY stock_id HAVING sum(quantity) > 0
), locked AS (
    SELECT stock.id, units.quantity * %(reserved)s AS reserved,
           units.quantity * %(on_hand)s * counted::int AS on_hand
      FROM orders_stock AS stock JOIN units ON units.stock_id = stock.id
     ORDER BY stock.id FOR NO KEY UPDATE OF stock
), moved AS (
    UPDATE orders_stock AS stock
       SET on_hand = stock.on_hand + locked.on_hand, reserved = stock.reserved + locked.reserved
      FROM locked WHERE stock.id = locked.id
    RETURNING stock.id, locked.on_hand AS on_hand_delta, locked.reserved AS reserved_delta
)
INSERT INTO orders_stockmovement (stock_id, order_id, kind, on_hand_delta, reserved_delta, reason)
SELECT id, %(order)s, %(kind)s, on_hand_delta, reserved_delta, '' FROM moved
"""


class StockQuerySet(models.QuerySet["Stock"]):
    def there(self) -> "StockQuerySet":
        """The goods that an order may name: they have not been taken out."""
        return self.filter(removed_at=None)

    def low(self) -> "StockQuerySet":
        """The goods that should be ordered, of which no more is left than their `low_at`; what
        lacks most is first.
        """
        left = F("on_hand") - F("reserved")
        low = self.there().filter(counted=True, low_at__gte=left)
        return low.order_by(left - F("low_at"), "pk")

    def called(self, term: str) -> "StockQuerySet":
        """Goods whose sku or name begins with the term."""
        ways = finding.beginning(finding.SKU, term), finding.beginning(finding.NAME, term)
        return self.there().filter(ways[0] | ways[1])

    def first_called(self, term: str, *, limit: int) -> "list[Stock]":
        """Up to `limit` of the goods that are `called` so, by their skus and then by their names:
        read in the order of an index, however many there are.
        """
        found: dict[int, Stock] = {}
        for key in (finding.SKU, finding.NAME):
            rows = self.there().filter(finding.beginning(key, term)).order_by(key, "pk")[:limit]
            for row in rows:
                found.setdefault(row.pk, row)
        return list(found.values())[:limit]

    def by_sku(self, skus: Collection[str]) -> "dict[str, Stock]":
        """The goods of these skus that an order may name."""
        return self.there().ever(skus)

    def ever(self, skus: Collection[str]) -> "dict[str, Stock]":
        """The goods of these skus, also those that were taken out: an order of the past may name
        them.
        """
        return {stock.sku: stock for stock in self.filter(sku__in=skus)}

    def know(self, names: dict[str, str]) -> None:
        """Add each of these skus that is not there yet, none on hand, under its name."""
        unknown = [self.model(sku=sku, name=name) for sku, name in sorted(names.items())]
        self.bulk_create(unknown, ignore_conflicts=True)

    def locked(self, sku: str) -> "Stock | None":
        """The goods of this sku, locked until the transaction ends; None for an unknown one."""
        return self.there().select_for_update(no_key=True).filter(sku=sku).first()

    def reserve(self, order: "Order") -> bool:
        """Promise all goods of this locked order; none, and False, when something is short."""
        with connection.cursor() as cursor:
            cursor.execute(RESERVE, {"order": order.pk})
            is_reserved, fell_low = cursor.fetchone()
        if fell_low:
            self.tell_low(self.filter(pk__in=fell_low).order_by("pk"))
        return bool(is_reserved)

    def move(self, order: "Order", kind: StockMovement.Kind, units: "Units") -> None:
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

    @transaction.atomic
    def adjust(self, sku: str, delta: int, *, reason: str) -> "Stock | None":
        """Count up or down; None for an unknown sku. Refuses with `invalid` a delta that leaves
        less than is promised.
        """
        stock = self.locked(sku)
        if stock is None:
            return None
        free, stock.on_hand = stock.free, stock.on_hand + delta
        if stock.is_oversold:
            raise invalid(("/delta", TOO_LITTLE))
        stock.save(update_fields=["on_hand"])
        stock.movements.create(
            kind=StockMovement.Kind.ADJUSTED, on_hand_delta=delta, reserved_delta=0, reason=reason
        )
        if stock.fell_low(free):
            self.tell_low([stock])
        return stock

    def set_on_hand(self, sku: str, on_hand: int, *, name: str | None) -> "Stock":
        """Count one sku, and name it."""
        [stock] = self.describe({sku: StockSetting(on_hand=on_hand, name=name)})
        return stock

    @transaction.atomic
    def describe(
        self, settings_of: Mapping[str, StockSetting], *, places: Mapping[str, str] | None = None
    ) -> list["Stock"]:
        """Set the stock of these skus, and count them; creates those that are not there.

        All or nothing: refuses with `invalid`, and names a field of each sku of which less would be
        left than is promised. `places`: where a sku stands in what was sent, as a JSON pointer.
        """
        there = set(self.filter(sku__in=settings_of).values_list("sku", flat=True))
        absent = sorted(settings_of.keys() - there)
        self.bulk_create([self.model(sku=sku) for sku in absent], ignore_conflicts=True)
        rows = list(self.select_for_update(no_key=True).filter(sku__in=settings_of).order_by("pk"))
        before = {row.pk: (row.on_hand, row.free) for row in rows}
        wrong = []
        for row in rows:
            row.take(settings_of[row.sku])
            if row.is_oversold:
                place = (places or {}).get(row.sku, "")
                wrong.append((f"{place}/{_blamed(settings_of[row.sku])}", TOO_LITTLE))
        if wrong:
            raise invalid(*wrong)
        self.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=SETTABLE)
        self._note_counts({row: row.on_hand - before[row.pk][0] for row in rows})
        self.tell_low(row for row in rows if row.fell_low(before[row.pk][1]))
        return rows

    @transaction.atomic
    def remove(self, sku: str) -> bool:
        """Take a sku out: it is listed no more and cannot be ordered; False for an unknown one. Its
        movements stay. Refuses with `stock-reserved` while it is promised to orders.
        """
        stock = self.locked(sku)
        if stock is None:
            return False
        if stock.reserved:
            detail = Sentence(
                "%(number)s of %(sku)s are reserved for orders.", number=stock.reserved, sku=sku
            )
            raise Refused("stock-reserved", detail)
        self._note_counts({stock: -stock.on_hand}, reason="removed")
        stock.on_hand, stock.removed_at = 0, timezone.now()
        stock.save(update_fields=["on_hand", "removed_at"])
        return True

    def tell_low(self, fell: Iterable["Stock"]) -> None:
        """Record that these have fallen low, an event for each. The caller holds their locks."""
        rows = list(fell)
        self.filter(pk__in=[stock.pk for stock in rows]).update(told_low=F("told_low") + 1)
        news = (
            events.News(UUID(int=stock.pk), stock.told_low + 1, {"stock": stock.snapshot()})
            for stock in rows
        )
        with together():
            events.record_all("stock.low", news, owner=None)

    def _note_counts(self, deltas: Mapping["Stock", int], *, reason: str = "") -> None:
        """Write a movement for each count; one that changes nothing is none."""
        StockMovement.objects.bulk_create(
            StockMovement(
                stock=stock,
                kind=StockMovement.Kind.COUNTED,
                on_hand_delta=delta,
                reserved_delta=0,
                reason=reason,
            )
            for stock, delta in deltas.items()
            if delta
        )


def _blamed(setting: StockSetting) -> str:
    """The field of this setting that leaves too little."""
    for name in ("on_hand", "backorder_limit"):
        if name in setting.model_fields_set:
            return name
    return "counted"
