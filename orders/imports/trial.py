"""A dry run: what an import of this file would refuse, found in one pass, with nothing written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from notifications.models import Shop
from orders.imports.elsewhere.order_of_file import OrderOfFile
from orders.imports.files.lines import Row
from orders.imports.files.reading import Manner, Stage
from orders.imports.inputs import Fault, NotAnOrder, input_of, name_of, orders_in, problem_of
from orders.imports.placing import BELONGS_TO_ANOTHER, is_what_it_says
from orders.models import Client, Order, Stock
from orders.models.placed.queryset import NUMBER_TAKEN, objections
from values.refused import invalid


@dataclass
class Trial:
    """Counts of orders, and the first IMPORT_TRIAL_FAULTS_MAX faults with their external_ids."""

    total: int = 0
    failed: int = 0
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    faults_left_out: int = 0

    @property
    def ok(self) -> int:
        return self.total - self.failed

    def note(self, name: str | None, faults: Sequence[Fault]) -> None:
        self.total += 1
        self.failed += bool(faults)
        room = settings.IMPORT_TRIAL_FAULTS_MAX - len(self.faults)
        self.faults += [(name or "", fault) for fault in faults[:room]]
        self.faults_left_out += max(0, len(faults) - room)


class Placed(NamedTuple):
    """Where a row stands in its stage."""

    key: str | None
    place: int


def tried(client: Client, stage: Stage, manner: Manner) -> Trial:
    """Every order of the file as an import would take it, but for what only the moment tells: what
    is in stock then, and what the cards say. In memory: the places of its rows, not the rows.
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
                faults = problem_of(rows, form, invalid(*errors)).faults
            else:
                faults = ()
            trial.note(name_of(rows, form), faults)
    return trial


def _orders(stage: Stage) -> Iterator[list[Row]]:
    places = [Placed(row.key, place) for place, row in stage.placed()]
    for order in orders_in(places):
        yield [stage.at(placed.place) for placed in order]


def _read(rows: Sequence[Row], manner: Manner) -> OrderOfFile | NotAnOrder:
    try:
        return input_of(rows, manner.form, quiet=manner.quiet)
    except NotAnOrder as exc:
        return exc


class Book:
    """What the shop knows of these orders."""

    def __init__(self, client: Client, inputs: Sequence[OrderOfFile]) -> None:
        skus = {line.sku for order_input in inputs for line in order_input.lines}
        self._skus = set(Stock.objects.there().filter(sku__in=skus).values_list("sku", flat=True))
        names = {order_input.external_id for order_input in inputs}
        known = Order.objects.of(client).filter(external_id__in=names).prefetch_related("lines")
        self._known = {order.external_id: order for order in known}
        numbers = {order_input.number for order_input in inputs if order_input.number}
        self._numbers = set(
            Order.objects.filter(number__in=numbers).values_list("number", flat=True)
        )

    def objections(self, order_input: OrderOfFile) -> list[tuple[str, str]]:
        known = self._known.get(order_input.external_id)
        if known is None or (known.is_unmet and not order_input.was_unmet):
            taken = [NUMBER_TAKEN] if order_input.number in self._numbers else []
            over = {line.sku for line in order_input.lines if order_input.is_over}
            return objections(order_input, self._skus | over) + taken
        return [] if is_what_it_says(known, order_input) else [BELONGS_TO_ANOTHER]


class Seen:
    """Orders of this file by their external_ids: another line of NDJSON may name one again."""

    def __init__(self) -> None:
        self._said: dict[str | None, int] = {}

    def objections(self, order_input: OrderOfFile) -> list[tuple[str, str]]:
        said = hash(order_input.model_dump_json())
        same = self._said.setdefault(order_input.external_id, said) == said
        return [] if same else [BELONGS_TO_ANOTHER]
