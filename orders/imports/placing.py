"""Working a chunk off in turns: each order is placed, known already, or refused by itself."""

from collections.abc import Sequence
from time import monotonic

from django.conf import settings
from django.db import DataError, IntegrityError, transaction

from orders.imports.inputs import (
    Fault,
    NotAnOrder,
    StagedRow,
    input_of,
    name_of,
    orders_in,
    problem_of,
)
from orders.imports.models import Import
from orders.imports.reading import Format
from orders.models import Client, Order
from orders.order_input import OrderInput
from orders.tasks import place
from values.refused import Refused

BELONGS_TO_ANOTHER = ("/external_id", "belongs to an earlier, other order")


def work_off(batch: Import, first: int) -> bool:
    """Place the orders of the chunk that begins there, note what is wrong with the others, and
    count both.

    As many as fit into IMPORT_TURN_S; False when some may be left.
    """
    until = monotonic() + settings.IMPORT_TURN_S
    while rows := batch.take(first, limit=settings.IMPORT_PORTION_ROWS):
        _place_or_note(batch, list(orders_in(rows)))
        if monotonic() >= until:
            return False
    return True


def give_up(batch: Import, first: int, *, reason: str) -> None:
    """Nobody will work this chunk off: its orders have failed."""
    orders = list(orders_in(batch.take(first, limit=settings.IMPORT_CHUNK_ROWS)))
    form = Format(batch.form)
    batch.note([(name_of(rows, form), Fault(rows[0].line, "", reason)) for rows in orders])
    batch.count(ok=0, failed=len(orders))


def _place_or_note(batch: Import, orders: Sequence[Sequence[StagedRow]]) -> None:
    ok, faults, form = 0, [], Format(batch.form)
    for rows in orders:
        try:
            _accept(batch.client, rows, form)
            ok += 1
        except NotAnOrder as exc:
            faults += [(name_of(rows, form), fault) for fault in exc.faults]
    batch.note(faults)
    batch.count(ok=ok, failed=len(orders) - ok)


def _accept(client: Client, rows: Sequence[StagedRow], form: Format) -> None:
    """Raises NotAnOrder, and then nothing of this order is written."""
    order_input = input_of(rows, form)
    try:
        with transaction.atomic():
            place(client, order_input)
    except Refused as exc:
        if exc.slug != "external-id-taken":
            raise problem_of(rows, form, exc) from exc
        if not _is_there(client, order_input):
            other = Refused(exc.slug, str(exc), errors=[BELONGS_TO_ANOTHER])
            raise problem_of(rows, form, other) from exc
    except (DataError, IntegrityError) as exc:
        raise NotAnOrder(Fault(rows[0].line, "", "the database does not take this order")) from exc


def _is_there(client: Client, order_input: OrderInput) -> bool:
    """Whether the order of this external_id is what the order_input says, so that an import may be
    repeated.
    """
    order = Order.objects.prefetch_related("lines").get(
        client=client, external_id=order_input.external_id
    )
    lines = list(order.lines.all())
    return (
        (
            order.currency,
            order.total,
            order.email,
            order.locale,
            order.payment_token,
            order.metadata,
        )
        == (
            order_input.currency,
            order_input.total,
            order_input.email,
            order_input.locale,
            order_input.payment.token,
            order_input.metadata,
        )
        and (order.shipping_amount, order.shipping_tax)
        == (order_input.shipping.amount, order_input.shipping.tax)
        and len(lines) == len(order_input.lines)
        and all(
            (line.sku, line.quantity, line.unit_price, line.discount, line.tax)
            == (ordered.sku, ordered.quantity, ordered.unit_price, ordered.discount, ordered.tax)
            and ordered.name in ("", line.name)
            for line, ordered in zip(lines, order_input.lines, strict=False)
        )
    )
