"""Stock: what is on hand, and what of it is promised."""

from django.db import models
from django.db.models import F, Q

from orders import snapshots
from orders.inputs.stock import StockSetting
from orders.models.stocked.finding import INDEXES
from orders.models.stocked.queryset import SETTABLE, StockQuerySet


class Stock(models.Model):
    """One kind of goods. `on_hand` units are in the house, and `reserved` ones promised to orders:
    never more than are on hand and may be ordered beyond that, unless nobody counts these goods.
    """

    sku = models.TextField(unique=True)
    name = models.TextField(blank=True, default="")
    # less than 0: sent before it was counted in
    on_hand = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    counted = models.BooleanField(default=True, db_default=True)
    backorder_limit = models.BigIntegerField(default=0, db_default=0)
    low_at = models.BigIntegerField(null=True)
    told_low = models.IntegerField(default=0, db_default=0)  # how often
    removed_at = models.DateTimeField(null=True)

    objects = StockQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "stock"
        indexes = INDEXES
        constraints = [
            models.CheckConstraint(
                name="stock_never_oversold",
                condition=Q(counted=False) | Q(reserved__lte=F("on_hand") + F("backorder_limit")),
            ),
            models.CheckConstraint(name="stock_reserved_ge_0", condition=Q(reserved__gte=0)),
            models.CheckConstraint(
                name="stock_limits", condition=Q(backorder_limit__gte=0) & ~Q(low_at__lt=0)
            ),
            models.CheckConstraint(
                name="stock_removed_is_not_reserved", condition=Q(removed_at=None) | Q(reserved=0)
            ),
        ]

    def __str__(self) -> str:
        return self.sku

    @property
    def free(self) -> int:
        """Units on hand and not promised; less than 0 when some are owed."""
        return self.on_hand - self.reserved

    @property
    def available(self) -> int | None:
        """Units that can be ordered; None: any number."""
        return self.free + self.backorder_limit if self.counted else None

    @property
    def is_low(self) -> bool:
        return self.counted and self.low_at is not None and self.free <= self.low_at

    @property
    def is_oversold(self) -> bool:
        return self.available is not None and self.available < 0

    def fell_low(self, free: int) -> bool:
        """Whether it is low now and was not before, with so many that were free then."""
        return self.counted and self.low_at is not None and free > self.low_at >= self.free

    def take(self, setting: StockSetting) -> None:
        """Set the fields it names; once removed, it is a new one. The caller holds the lock."""
        if self.removed_at is not None:
            new = Stock()
            for name in SETTABLE:
                setattr(self, name, getattr(new, name))
        for name in setting.model_fields_set.intersection(SETTABLE):
            value = getattr(setting, name)
            setattr(self, name, self.name if (name, value) == ("name", None) else value)

    def snapshot(self) -> snapshots.Stock:
        """Stock as the API and the webhooks show it."""
        return {
            "sku": self.sku,
            "name": self.name,
            "on_hand": self.on_hand,
            "reserved": self.reserved,
            "available": self.available,
            "counted": self.counted,
            "backorder_limit": self.backorder_limit,
            "low_at": self.low_at,
        }
