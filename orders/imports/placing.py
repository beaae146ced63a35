"""Working a chunk off in turns: each order is placed, known already, or refused by itself."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import date
from time import monotonic

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from notifications import events
from notifications.models import Shop
from orders.imports.became import ImportOrder
from orders.imports.elsewhere.order_of_file import OrderOfFile
from orders.imports.elsewhere.tasks import goods_of, outdate_reports, placed
from orders.imports.files.reading import Format
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
from orders.inputs.payment import PaymentInput
from orders.models import Client, Order, Stock
from values.refused import Refused, Sentence

Rows = Sequence[StagedRow]
Faults = list[tuple[str | None, Fault]]  # with the external_id of whose they are
NOT_TAKEN = Sentence("the database does not take this order")
BELONGS_TO_ANOTHER = ("/external_id", Sentence("belongs to an earlier, other order"))


def work_off(batch: Import, first: int) -> bool:
    """Place the orders of the chunk that begins there, note what is wrong with the others, and
    count both.

    As many as fit into IMPORT_TURN_S; False when some may be left.
    """
    until = monotonic() + settings.IMPORT_TURN_S
    late: set[date] = set()
    with events.quiet() if batch.quiet else nullcontext():
        while rows := batch.take(first, limit=settings.IMPORT_PORTION_ROWS):
            late |= _place_or_note(batch, list(orders_in(rows)))
            if monotonic() >= until:
                break
    outdate_reports(late)
    return not rows


def give_up(batch: Import, first: int, *, reason: str) -> None:
    """Nobody will work this chunk off: its orders have failed."""
    orders = list(orders_in(batch.take(first, limit=settings.IMPORT_CHUNK_ROWS)))
    form = Format(batch.form)
    batch.note([(name_of(rows, form), Fault(rows[0].line, "", reason)) for rows in orders])
    batch.count(ok=0, failed=len(orders))


def _place_or_note(batch: Import, orders: Sequence[Rows]) -> set[date]:
    """The days on which money has moved that nobody knew of here."""
    readable, faults = _read(batch, orders)
    goods = goods_of([said for _, said in readable])
    accepted, days, ok = list[ImportOrder](), set[date](), 0
    for rows, said in readable:
        order = _accept(batch, rows, said, goods)
        if isinstance(order, NotAnOrder):
            faults += _named(batch, rows, order)
            continue
        ok += 1
        days |= said.days() if said.is_over else set()
        if not said.was_unmet:
            name, line = order.external_id or "", rows[0].line
            accepted.append(ImportOrder(batch=batch, order=order, line=line, external_id=name))
    batch.note(faults)
    batch.note_orders(accepted)
    batch.count(ok=ok, failed=len(orders) - ok)
    return days


def _read(batch: Import, orders: Sequence[Rows]) -> tuple[list[tuple[Rows, OrderOfFile]], Faults]:
    readable, faults = list[tuple[Rows, OrderOfFile]](), Faults()
    with timezone.override(Shop.objects.of(batch.client_id).zone):
        for rows in orders:
            try:
                readable.append((rows, input_of(rows, Format(batch.form), quiet=batch.quiet)))
            except NotAnOrder as exc:
                faults += _named(batch, rows, exc)
    return readable, faults


def _named(batch: Import, rows: Rows, what: NotAnOrder) -> Faults:
    name = name_of(rows, Format(batch.form))
    return [(name, fault) for fault in what.faults]


def _accept(
    batch: Import, rows: Rows, said: OrderOfFile, goods: Mapping[str, Stock]
) -> Order | NotAnOrder:
    """The order that these rows say, new or known. Of what is none, nothing is written."""
    try:
        return _place(batch.client, said, goods)
    except Refused as exc:
        return problem_of(rows, Format(batch.form), exc)
    except (DataError, IntegrityError):
        return NotAnOrder(Fault(rows[0].line, "", NOT_TAKEN))


def _place(client: Client, said: OrderOfFile, goods: Mapping[str, Stock]) -> Order:
    """Under a taken external_id: the known order if it says the same, or a new one in the place of
    one that was unmet.
    """
    try:
        with transaction.atomic():
            return placed(client, said, goods)
    except Refused as exc:
        if exc.order is None:
            raise
        first = Order.objects.prefetch_related("lines").get(pk=exc.order)
        makes_way = first.is_unmet and not said.was_unmet
        if makes_way and (again := _place_again(client, said, goods, first)):
            return again
        if not is_what_it_says(first, said):
            raise Refused(exc.slug, str(exc), errors=[BELONGS_TO_ANOTHER]) from exc
        return first


def _place_again(
    client: Client, said: OrderOfFile, goods: Mapping[str, Stock], first: Order
) -> Order | None:
    """None when the first is unmet no more, for its money has come. Chunks have their turns, so
    nobody else locks several orders at a time.
    """
    with transaction.atomic():
        unmet = Order.objects.locked(first.pk)
        if not unmet.is_unmet:
            return None
        unmet.make_way()
        return placed(client, said, goods)


def is_what_it_says(order: Order, order_input: OrderOfFile) -> bool:
    """Whether a known order is what the order_input says, so that an import may be repeated."""
    lines = list(order.lines.all())
    return (
        (order.currency, order.total) == (order_input.currency, order_input.total)
        and not order.news_in(order_input)
        and (order_input.is_past or _is_paid_so(order, order_input.payment))
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


def _is_paid_so(order: Order, payment: PaymentInput) -> bool:
    """Also with a card that was tried before its last one."""
    if order.payment_method != payment.method:
        return False
    token = payment.token or ""
    return token == order.payment_token or order.operations.charges().filter(token=token).exists()
