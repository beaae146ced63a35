"""Remarks: notes that members of staff write beside an order for each other. No customer and no
endpoint sees them; whoever erases a person erases them.
"""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from values.refused import Sentence, invalid

if TYPE_CHECKING:
    from orders.models.placed.order import Order

REMARK_MAX_CHARS = 500


class RemarkQuerySet(models.QuerySet["Remark"]):
    def write(self, order: "Order", text: str, *, who: str) -> "Remark":
        """A remark beside this locked order. Refuses with `invalid` what is the last one already,
        and one beyond REMARKS_PER_ORDER; with `order-erased` when the customer was erased.
        """
        order.refuse_erased()
        its_own = self.filter(order=order)
        last = its_own.order_by("-pk").first()
        if last and (last.who, last.text) == (who, text):
            raise invalid(("/text", "stands there already"))
        if its_own.count() >= settings.REMARKS_PER_ORDER:
            too_many = "there are %(most)s of this order already"
            raise invalid(("/text", Sentence(too_many, most=settings.REMARKS_PER_ORDER)))
        return self.create(order=order, who=who, text=text)


class Remark(models.Model):
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="remarks")
    at = models.DateTimeField(db_default=Now())
    who = models.TextField()  # by their login name then
    text = models.TextField()  # one line

    objects = RemarkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.who}: {self.text}"
