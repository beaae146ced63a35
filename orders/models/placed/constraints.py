"""What Postgres itself refuses of an order."""

from django.db import models
from django.db.models import F, Q

from orders.states import PaymentMethod, State

CONSTRAINTS = [
    models.UniqueConstraint(name="order_number_once", fields=["number"]),
    models.UniqueConstraint(name="order_external_id_once", fields=["client", "external_id"]),
    models.CheckConstraint(name="order_state", condition=Q(state__in=State.values)),
    models.CheckConstraint(
        name="order_charge_state",
        condition=Q(
            charge_state__in=["none", "pending", "action_required", "authorized", "failed"]
        ),
    ),
    models.CheckConstraint(
        name="order_money",
        condition=Q(
            total__gte=0,
            captured__gte=0,
            captured__lte=F("total"),
            refunded__gte=0,
            refunded__lte=F("captured"),
            refund_pending__gte=0,
        )
        & Q(captured__gte=F("refunded") + F("refund_pending")),
    ),
    models.CheckConstraint(
        name="order_confirmed_is_paid",
        condition=~Q(state__in=[State.CONFIRMED, State.COMPLETED])
        | Q(captured=F("total"))
        | Q(payment_method=PaymentMethod.COD, units_fulfilled=0),
    ),
    models.CheckConstraint(
        name="order_payment",
        condition=Q(payment_method__in=PaymentMethod.values, payment_attempts__gte=1),
    ),
    models.CheckConstraint(
        name="order_units",
        condition=Q(units__gte=0, units_fulfilled__gte=0, units_fulfilled__lte=F("units")),
    ),
]
