"""Working a chunk off in turns: each order is placed, found as it was placed before, or refused."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import date
from operator import attrgetter
from time import monotonic

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from notifications import events
from notifications.models import Shop
from orders.imports.became import ImportOrder
from orders.imports.elsewhere.order_of_file import OrderOfFile
from orders.imports.elsewhere.tasks import goods_of, outdate_reports, placed
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format
from orders.imports.inputs import Fault, NotAnOrder, input_of, name_of, orders_in, refusal_of
from orders.imports.models import Import
from orders.inputs.order import LineInput
from orders.inputs.payment import PaymentInput
from orders.models import Client, Order, OrderLine, Stock
from values.refused import Refused, Sentence

Rows = Sequence[Row]
Faults = list[tuple[str | None, Fault]]  # with the external_id of whose they are
GOODS = attrgetter("sku", "quantity", "unit_price", "discount", "tax")  # of a line
NOT_TAKEN = Sentence("the database does not take this order")
BELONGS_TO_ANOTHER = ("/external_id", Sentence("belongs to an earlier, other order"))


def work_off(batch: Import, first: int) -> bool:
    """Place orders of the chunk that begins there, note what is wrong with the others, and count
    both: as many as fit into IMPORT_TURN_S. False when some may be left.
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
    """Note the orders of a chunk that nobody will work off as failed, each for this reason."""
    orders = list(orders_in(batch.take(first, limit=settings.IMPORT_CHUNK_ROWS)))
    form = Format(batch.form)
    batch.note([(name_of(rows, form), Fault(rows[0].line_number, "", reason)) for rows in orders])
    batch.count(ok=0, failed=len(orders))


def _place_or_note(batch: Import, orders: Sequence[Rows]) -> set[date]:
    """Place these orders or note why not. Returns the days on which their money had moved
    elsewhere, of which the reports do not know yet.
    """
    readable, faults = _read(batch, orders)
    goods = goods_of([order_input for _, order_input in readable])
    accepted, days, ok = list[ImportOrder](), set[date](), 0
    for rows, order_input in readable:
        order = _accept(batch, rows, order_input, goods)
        if isinstance(order, NotAnOrder):
            faults += _named(batch, rows, order)
            continue
        ok += 1
        if order_input.is_over:
            days |= order_input.days()
        if not order_input.was_unmet:
            accepted.append(_led_to(order, batch, rows))
    batch.note(faults)
    batch.note_orders(accepted)
    batch.count(ok=ok, failed=len(orders) - ok)
    return days


def _led_to(order: Order, batch: Import, rows: Rows) -> ImportOrder:
    name = order.external_id or ""
    return ImportOrder(batch=batch, order=order, line=rows[0].line_number, external_id=name)


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
    batch: Import, rows: Rows, order_input: OrderOfFile, goods: Mapping[str, Stock]
) -> Order | NotAnOrder:
    """The order of these rows, new or placed before; or why there is none, and then nothing of it
    is written.
    """
    try:
        return _place(batch.client, order_input, goods)
    except Refused as exc:
        return refusal_of(rows, Format(batch.form), exc)
    except (DataError, IntegrityError):
        return NotAnOrder(Fault(rows[0].line_number, "", NOT_TAKEN))


def _place(client: Client, order_input: OrderOfFile, goods: Mapping[str, Stock]) -> Order:
    """A new order. Where its external_id is taken: the first order, if the file says the same of
    it; or a new one in its place, if it was unmet. Refuses as `Order.objects.place` does.
    """
    try:
        with transaction.atomic():
            return placed(client, order_input, goods)
    except Refused as exc:
        if exc.order is None:
            raise
        first = Order.objects.prefetch_related("lines").get(pk=exc.order)
        makes_way = first.is_unmet and not order_input.was_unmet
        if makes_way and (again := _place_again(client, order_input, goods, first)):
            return again
        if not is_same(first, order_input):
            raise Refused(exc.slug, str(exc), errors=[BELONGS_TO_ANOTHER]) from exc
        return first


def _place_again(
    client: Client, order_input: OrderOfFile, goods: Mapping[str, Stock], first: Order
) -> Order | None:
    """A new order in the place of the first; None when that is unmet no more, for its money has
    come. Chunks have their turns, so nobody else locks several orders at a time.
    """
    with transaction.atomic():
        unmet = Order.objects.locked(first.pk)
        if not unmet.is_unmet:
            return None
        unmet.make_way()
        return placed(client, order_input, goods)


def is_same(order: Order, order_input: OrderOfFile) -> bool:
    """Whether a file has an order as it was placed before, so that an import may be repeated."""
    shipping = order_input.shipping
    return (
        (order.currency, order.total) == (order_input.currency, order_input.total)
        and not order.news_in(order_input)
        and (order_input.is_past or _is_paid_so(order, order_input.payment))
        and (order.shipping_amount, order.shipping_tax) == (shipping.amount, shipping.tax)
        and _has_the_lines(order, order_input.lines)
    )


def _has_the_lines(order: Order, expected: Sequence[LineInput]) -> bool:
    lines = list(order.lines.all())
    if len(lines) != len(expected):
        return False
    return all(_is_same_line(line, other) for line, other in zip(lines, expected, strict=True))


def _is_same_line(line: OrderLine, expected: LineInput) -> bool:
    """A line without a name is like one of any name, and one that was sold without a name is shown
    under its sku.
    """
    return GOODS(line) == GOODS(expected) and expected.name in ("", line.title)


def _is_paid_so(order: Order, payment: PaymentInput) -> bool:
    """Whether the order is paid in this way: with this card, if by card, also where it was tried
    before the last one.
    """
    if order.payment_method != payment.method:
        return False
    token = payment.token or ""
    return token == order.payment_token or order.operations.charges().filter(token=token).exists()
