"""An order as a person calls it, and the ids in the arguments of its jobs: its own, and those of
what belongs to it.
"""

from uuid import UUID

from django.db.models import Q

from notifications.models import Delivery, Event
from orders.models import Order
from orders.payments.models import PaymentOperation


def ids_about(text: str) -> list[str]:
    """The ids of the orders that are called so, and of their operations, events and deliveries. The
    text is a number (its dash may lack), an id, or an external_id, which several clients may have
    used. For `manage.py jobs list --about`.
    """
    orders = list(Order.objects.filter(_called(text.strip())).values_list("pk", flat=True))
    operations = PaymentOperation.objects.filter(order__in=orders).values_list("pk", flat=True)
    events = list(Event.objects.filter(subject__in=orders).values_list("pk", flat=True))
    deliveries = Delivery.objects.filter(event__in=events).values_list("pk", flat=True)
    return [str(id_) for id_ in (*orders, *operations, *events, *deliveries)]


def _called(text: str) -> Q:
    letters = text.upper().replace("-", "")
    called = Q(external_id=text) | Q(number=f"{letters[:4]}-{letters[4:]}")
    try:
        return called | Q(pk=UUID(text))
    except ValueError:
        return called
