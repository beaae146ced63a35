"""A dry run: what an import of this file would refuse, found in one pass, with nothing written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import NamedTuple

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from notifications.models import Shop
from orders.imports.elsewhere.order_of_file import OrderOfFile
from orders.imports.files.lines import Row
from orders.imports.files.reading import Manner, Stage
from orders.imports.inputs import Fault, NotAnOrder, input_of, name_of, orders_in, refusal_of
from orders.imports.placing import BELONGS_TO_ANOTHER, is_same
from orders.models import Client, Order, Stock
from orders.models.placed.queryset import NUMBER_TAKEN, objections
from values.refused import invalid


@dataclass
class Trial:
    """What a dry run came to: counts of orders, and the first IMPORT_TRIAL_FAULTS_MAX faults, each
    behind the external_id of its order.
    """

    total: int = 0
    failed: int = 0
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    faults_left_out: int = 0

    @property
    def ok(self) -> int:
        return self.total - self.failed

    def note(self, name: str | None, faults: Sequence[Fault]) -> None:
        """Count one order, of this external_id; it failed if it has faults."""
        self.total += 1
        self.failed += bool(faults)
        room = settings.IMPORT_TRIAL_FAULTS_MAX - len(self.faults)
        self.faults += [(name or "", fault) for fault in faults[:room]]
        self.faults_left_out += max(0, len(faults) - room)


class Placed(NamedTuple):
    """The key of a row, and its place in the stage, at which it is found again."""

    key: str | None
    place: int


def tried(client: Client, stage: Stage, manner: Manner) -> Trial:
    """What an import would accept and refuse of this file, but for what is decided only then: what
    is in stock, and which cards are declined. In memory it holds the places of the rows, not the
    rows.
    """
    trial, seen, form = Trial(), Seen(), manner.form
    zone = Shop.objects.of(client.pk).zone
    for orders in batched(_orders(stage), settings.IMPORT_TRIAL_BATCH):
        with timezone.override(zone):
            read = [_read(rows, manner) for rows in orders]
        inputs = [order_input for order_input in read if isinstance(order_input, OrderOfFile)]
        book = Book(client, inputs)
        for rows, order_input in zip(orders, read, strict=True):
            if isinstance(order_input, NotAnOrder):
                faults = order_input.faults
            elif errors := [*book.objections(order_input), *seen.objections(order_input)]:
                faults = refusal_of(rows, form, invalid(*errors)).faults
            else:
                faults = ()
            trial.note(name_of(rows, form), faults)
    return trial


def _orders(stage: Stage) -> Iterator[list[Row]]:
    places = [Placed(row.key, place) for place, row in stage.placed()]
    for order in orders_in(places):
        yield [stage.row_at(placed.place) for placed in order]


def _read(rows: Sequence[Row], manner: Manner) -> OrderOfFile | NotAnOrder:
    try:
        return input_of(rows, manner.form, quiet=manner.quiet)
    except NotAnOrder as exc:
        return exc


class Book:
    """What the shop has of these orders already: goods, external_ids and numbers."""

    def __init__(self, client: Client, inputs: Sequence[OrderOfFile]) -> None:
        skus = {line.sku for order_input in inputs for line in order_input.lines}
        self._skus = set(Stock.objects.there().filter(sku__in=skus).values_list("sku", flat=True))
        names = {order_input.external_id for order_input in inputs}
        named = Q(external_id__in=names) | Q(external_id=None, number__in=names)
        firsts = Order.objects.of(client).filter(named).prefetch_related("lines")
        self._first_of = {order.external_id: order for order in firsts if order.external_id}
        self._nameless = {order.number: order for order in firsts if order.external_id is None}
        numbers = {order_input.number for order_input in inputs if order_input.number}
        self._numbers = set(
            Order.objects.filter(number__in=numbers).values_list("number", flat=True)
        )

    def objections(self, order_input: OrderOfFile) -> list[tuple[str, str]]:
        """Pairs of JSON pointer and message."""
        first = self._first(order_input)
        if first is None or (first.is_unmet and not order_input.was_unmet):
            return self._objections_to_new(order_input)
        return [] if is_same(first, order_input) else [BELONGS_TO_ANOTHER]

    def _first(self, order_input: OrderOfFile) -> Order | None:
        """The earlier order that is called so; by its number alone if the file has it as a number
        too, as an export has an order without an external_id.
        """
        number = order_input.number or ""
        nameless = self._nameless.get(number) if number == order_input.external_id else None
        return self._first_of.get(order_input.external_id or "") or nameless

    def _objections_to_new(self, order_input: OrderOfFile) -> list[tuple[str, str]]:
        skus = set(self._skus)
        if order_input.is_over:  # then its goods need not be here
            skus.update(line.sku for line in order_input.lines)
        taken = [NUMBER_TAKEN] if order_input.number in self._numbers else []
        return objections(order_input, skus) + taken


class Seen:
    """Orders of this file by their external_ids: another line of NDJSON may name one again."""

    def __init__(self) -> None:
        self._digests: dict[str | None, int] = {}  # of the first body of each external_id

    def objections(self, order_input: OrderOfFile) -> list[tuple[str, str]]:
        digest = hash(order_input.model_dump_json())
        first = self._digests.setdefault(order_input.external_id, digest)
        return [] if digest == first else [BELONGS_TO_ANOTHER]
