"""The orders that an import has led to, and what became of each: which way it has gone. One that
was accepted may be sold out, or declined, since.
"""

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models import Case, Count, Value, When

from orders.states import UNMET, State, under_way

UNDER_WAY, HELD, CONFIRMED, CANCELLED = "under_way", "held", "confirmed", "cancelled"
# an order's way, as far as its import is asked about it
WAYS = (CONFIRMED, UNDER_WAY, HELD, CANCELLED, *UNMET.values())
WAY = Case(
    *(
        When(order__state=State.CANCELLED, order__reason=reason, then=Value(way))
        for reason, way in UNMET.items()
    ),
    When(order__state=State.CANCELLED, then=Value(CANCELLED)),
    When(order__held=True, then=Value(HELD)),
    When(order__state__in=[State.CONFIRMED, State.COMPLETED], then=Value(CONFIRMED)),
    default=Value(UNDER_WAY),
    output_field=models.TextField(),
)


class ImportOrderQuerySet(models.QuerySet["ImportOrder"]):
    def ways(self) -> dict[str, int]:
        """How many of these orders have gone each of WAYS."""
        counted = self.values_list(WAY).annotate(number=Count("pk")).order_by()
        return dict.fromkeys(WAYS, 0) | dict(counted)

    def beginning(self, number: int) -> "ImportOrderQuerySet":
        """The first orders of an import, by their lines: so many of them."""
        last = self.order_by("line").values_list("line", flat=True)[number - 1 : number]
        return self.filter(line__lte=last[0]) if last else self

    def unmet(self) -> "ImportOrderQuerySet":
        """The orders whose rows may be imported again."""
        return self.filter(order__state=State.CANCELLED, order__reason__in=UNMET)

    def are_decided(self) -> bool:
        """Whether no order of these is worked on: each is confirmed, cancelled, or waits for a
        person or its customer.
        """
        return not self.filter(under_way("order__"), order__held=False).exists()

    def unmet_by_line(self, page: int) -> Iterator[tuple[int, str, str]]:
        """Line, external_id and one of WAYS for each unmet order, by lines; read page by page."""
        line_number = 0
        while rows := list(self._unmet_after(line_number)[:page]):
            yield from rows
            line_number = rows[-1][0]

    def _unmet_after(self, line_number: int) -> Any:
        further = self.unmet().filter(line__gt=line_number).order_by("line")
        return further.values_list("line", "external_id", WAY)


class ImportOrder(models.Model):
    """An order that a row of the file has led to: a new one, or one that was there before."""

    batch = models.ForeignKey(
        "Import", on_delete=models.CASCADE, related_name="orders", db_index=False
    )
    order = models.ForeignKey("Order", on_delete=models.PROTECT, related_name="+", db_index=False)
    line = models.IntegerField()  # of the file, where it begins
    # as the file has it: an unmet order may leave its own to another
    external_id = models.TextField()

    objects = ImportOrderQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="import_order_once", fields=["batch", "line"])]
        indexes = [models.Index(name="import_order_of", fields=["order"])]

    def __str__(self) -> str:
        return f"line {self.line}: {self.external_id}"
