"""A line of an order: so much of one sku at this price."""

from typing import Any

from django.db import models
from django.db.models import Q

from orders.stock import Stock


class OrderLine(models.Model):
    order = models.ForeignKey("orders.Order", on_delete=models.CASCADE, related_name="lines")
    position = models.IntegerField()
    stock = models.ForeignKey(Stock, on_delete=models.PROTECT, related_name="+")
    sku = models.TextField()
    name = models.TextField()
    quantity = models.BigIntegerField()
    unit_price = models.BigIntegerField()
    discount = models.BigIntegerField(default=0)
    tax = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(name="line_position_once", fields=["order", "position"]),
            models.CheckConstraint(
                name="line_amounts", condition=Q(quantity__gt=0, unit_price__gte=0, discount__gte=0, tax__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price - self.discount + self.tax

    def snapshot(self) -> dict[str, Any]:
        return {
            "sku": self.sku, "name": self.name, "quantity": self.quantity, "unit_price": self.unit_price,
            "discount": self.discount, "tax": self.tax,
        }  # fmt: skip
