"""How a form of the demo shop becomes an order, now or already placed."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from pydantic import ValidationError

from demo.menu import CLIENT, OrderForm
from orders.inputs.faults import pointed
from orders.models import Client, Order
from orders.tasks import place
from values.refused import Refused


def ordered(form: OrderForm) -> Order | None:
    """The order of this valid form, placed now or when the form was first sent; None when it was
    refused, and then the form's errors say why.
    """
    client, _created = Client.objects.get_or_create(name=CLIENT)
    if first := Order.objects.filter(client=client, external_id=form.external_id).first():
        return _same_order(first, form)
    if form.refuse_shortage():
        return None
    try:
        return _placed(form, client)
    except ValidationError as exc:
        form.refuse(pointed(dict(error), skip=0) for error in exc.errors())
    except Refused as problem:
        if problem.slug == "external-id-taken":  # the other click was faster
            return _same_order(Order.objects.get(client=client, external_id=form.external_id), form)
        form.refuse(problem.errors or [("", problem.detail)])
    return None


@transaction.atomic
def _placed(form: OrderForm, client: Client) -> Order | None:
    Client.objects.locked(client.pk)
    mine = Order.objects.of(client)
    if not mine.filter(external_id=form.external_id).exists():  # by another click, meanwhile
        lately = mine.narrowed(created_after=timezone.now() - timedelta(hours=1))
        addresses = lately.values_list("email", flat=True)[: settings.DEMO_ORDERS_PER_HOUR]
        form.refuse_flood(list(addresses))
    return None if form.is_flood else place(client, form.order_input())


def _same_order(first: Order, form: OrderForm) -> Order | None:
    """The order that this form has placed before. None when the visitor went back and changed what
    is chosen: the form then offers to order that as well.
    """
    was = {line.sku: line.quantity for line in first.lines.all()}
    now = {dish.sku: quantity for dish, quantity in form.chosen}
    if (was, first.email, first.payment_token) == (now, form.cleaned_data["email"], form.card):
        return first
    form.renew()
    form.add_error(
        None,
        _("You have already placed order %(number)s from here. To order this as well, order again.")
        % {"number": first.number},
    )
    return None
