"""How an order gets into the book: under a number that nobody has, with its lines and its first
event.
"""

import secrets
from collections.abc import Container, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, models
from django.db.models import Q
from django.db.models.constants import OnConflict
from django.db.models.functions import Now

from notifications.models.changes import settled_until
from orders.models.client import Client
from orders.models.placed.finding import those
from orders.models.placed.line import OrderLine
from orders.models.stocked.stock import Stock
from orders.payments.provider import ELSEWHERE, amount_objection
from values.refused import Refused, Sentence, invalid

if TYPE_CHECKING:
    from orders.inputs.order import OrderInput
    from orders.models.placed.order import Order

NUMBER_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # no 0/O, 1/I/L, U: read aloud without doubt
NUMBER_TRIES = 5
NUMBER_TAKEN = ("/number", Sentence("belongs to another order"))


class OrderQuerySet(models.QuerySet["Order"]):
    def of(self, client: Client) -> "OrderQuerySet":
        return self.filter(client=client)

    def narrowed(self, *, sku: str | None = None, **filters: Any) -> "OrderQuerySet":
        """The orders of which all of these are true, as `finding.those` has it."""
        orders = self.filter(those(sku=sku, **filters))
        return orders.distinct("pk") if sku else orders  # two lines may have it

    def newest_first(self, after: str | None) -> "OrderQuerySet":
        return (self.filter(pk__lt=after) if after else self).order_by("-pk")

    def by_change(self, after: tuple[datetime, UUID] | None) -> "OrderQuerySet":
        """The orders as they changed, the oldest change first, up to the moment before which nobody
        can change one any more. `after`: the moment and the id of the last one that was read.
        """
        orders = self.filter(updated_at__lt=settled_until()).order_by("updated_at", "pk")
        if after:
            moment, pk = after
            later = Q(updated_at__gt=moment) | Q(pk__gt=pk)
            orders = orders.filter(later, updated_at__gte=moment)
        return orders.distinct("updated_at", "pk") if orders.query.distinct else orders

    def place(
        self, client: Client, order_input: "OrderInput", stock: Mapping[str, Stock] | None = None
    ) -> "Order":
        """Accept an order: its row, its lines and its first event, in the caller's transaction.
        `stock` has the goods of its skus, for whoever has looked at them for several orders.

        Refuses with `invalid` an unknown sku or an amount that the provider cannot move, and with
        `external-id-taken`, which names the first order, an external_id that the client has used
        before.
        """
        if stock is None:
            stock = Stock.objects.by_sku({line.sku for line in order_input.lines})
        if wrong := objections(order_input, stock):
            raise invalid(*wrong)
        order = self._insert_numbered(self.model.from_input(client, order_input))
        order.own_lines = OrderLine.objects.bulk_create(
            OrderLine(
                order=order,
                position=position,
                stock=stock[line.sku],
                sku=line.sku,
                name=line.name or stock[line.sku].name,
                quantity=line.quantity,
                unit_price=line.unit_price,
                discount=line.discount,
                tax=line.tax,
                **line.so_far(),
            )
            for position, line in enumerate(order_input.lines)
        )
        order.tell("order.received")
        return order

    def _insert_numbered(self, order: "Order") -> "Order":
        """Insert under a number nobody has, unless it brings its own. Refuses with
        `external-id-taken`, and with `invalid` a number of its own that is.
        """
        own = order.number
        for _ in range(NUMBER_TRIES):
            order.number = own or new_number()
            if self._insert_if_free(order):
                return order
            self._refuse_if_taken(order)
            if own:
                raise invalid(NUMBER_TAKEN)
        raise RuntimeError(f"{NUMBER_TRIES} random order numbers in a row were taken")

    def _insert_if_free(self, order: "Order") -> bool:
        """Insert as `save` does; False when something unique of the order is taken. The transaction
        then goes on, and needs no savepoint for that.
        """
        meta = self.model._meta
        columns = [column for column in meta.concrete_fields if not column.generated]
        filled_in = meta.db_returning_fields
        rows = self._insert(  # type: ignore[attr-defined]
            [order], columns, returning_fields=filled_in, on_conflict=OnConflict.IGNORE
        )
        for row in rows:
            for column, value in zip(filled_in, row, strict=True):
                setattr(order, column.attname, value)
            order._state.adding = False
        return bool(rows)

    def _refuse_if_taken(self, order: "Order") -> None:
        if order.external_id is None:
            return
        names = Q(external_id=order.external_id)
        if order.number == order.external_id:  # as an export has an order without an external_id
            names |= Q(external_id=None, number=order.number)
        first = self.filter(names, client_id=order.client_id).first()
        if first is not None:
            raise Refused(
                "external-id-taken",
                f"external_id {order.external_id!r} belongs to an earlier order.",
                errors=[("/external_id", Sentence("belongs to an earlier order"))],
                order=first.pk,
            )

    def expired(self, limit: int) -> "OrderQuerySet":
        """Up to `limit` orders whose goods have been set aside for long enough, those that waited
        longest first.
        """
        late = self.filter(state="reserved", expires_at__lte=Now(), held=False)
        return late.order_by("expires_at").only("client_id")[:limit]

    def some_locked(self, limit: int) -> list["Order"]:
        """The first orders of these, by their ids, each locked as `locked` does it."""
        locked = self.select_for_update(no_key=True).order_by("pk")
        return list(locked.prefetch_related("lines")[:limit])

    def locked(self, pk: Any, *, wait_ms: int | None = None) -> "Order":
        """The order, locked until the transaction ends: before its stock rows, always. With
        `wait_ms` no lock of the transaction is waited for longer than that from here on.
        """
        if wait_ms is not None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_ms}ms"])
        return self.select_for_update(no_key=True).get(pk=pk)


def objections(order_input: "OrderInput", skus: Container[str]) -> list[tuple[str, str]]:
    """Pairs of JSON pointer and message: why there can be no such order, where these skus are all
    that there are, and with the provider that there is.
    """
    mover = None if order_input.payment.method == "card" else ELSEWHERE
    unmovable = amount_objection(order_input.total, order_input.currency, mover)
    return order_input.unknown_skus(skus) + ([("/total", unmovable)] if unmovable else [])


def new_number() -> str:
    """A number of eight random characters in two groups, for reading aloud."""
    letters = [secrets.choice(NUMBER_ALPHABET) for _ in range(8)]
    return f"{''.join(letters[:4])}-{''.join(letters[4:])}"
