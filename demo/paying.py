"""Another card for an order whose first one came to nothing, where no real money moves. A shop's
own storefront does this by `POST /v1/orders/{id}/payments`.
"""

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from demo.cards import cards
from orders.models import Order
from orders.payments.paying import payment_of
from orders.states import PaymentState, State
from orders.tasks import pay_again
from values.refused import Refused

WAITING = (PaymentState.FAILED, PaymentState.ACTION_REQUIRED)


class CardForm(forms.Form):
    token = forms.ChoiceField(
        label=gettext_lazy("Card"),
        choices=cards,
        widget=forms.RadioSelect,
        initial=lambda: cards()[0][0],
    )


def card_form(order: Order) -> CardForm | None:
    """The form for another card; None for an order that needs none, or where no test cards are."""
    waits = order.state == State.RESERVED and order.payment_state in WAITING and not order.held
    return CardForm() if waits and cards() and payment_of(order)["attempts_left"] else None


@never_cache
@require_POST
def pay_page(request: HttpRequest, token: str) -> HttpResponse:
    """Pay with that card and lead back to the order's page. Sent twice, it is one payment."""
    order = Order.objects.filter(public_token=token).first()
    form = CardForm(request.POST)
    if order is None or not cards() or not form.is_valid():
        return render(request, "404.html", status=404)
    try:
        with transaction.atomic():
            pay_again(Order.objects.locked(order.pk), form.cleaned_data["token"])
    except Refused:  # it is paid, is being paid, or its time is over
        pass
    return HttpResponseRedirect(reverse("status_page", args=[token]), status=303)
