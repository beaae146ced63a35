"""The page on which a customer withdraws from the contract: the statement, and its confirmation."""

from django import forms
from django.core.validators import RegexValidator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from demo.order_page import masked, page_of
from orders.models import Order, may_be_withdrawn, withdraw
from orders.tasks import give_back
from values.texts import CONTROL

NAME_MAX_CHARS = 200


class Statement(forms.Form):
    """The one thing that a customer adds to what stands in the order: their name."""

    name = forms.CharField(
        required=False,
        max_length=NAME_MAX_CHARS,
        label=gettext_lazy("Your name"),
        validators=[RegexValidator(CONTROL, inverse_match=True)],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages=dict.fromkeys(
            ("max_length", "invalid", "null_characters_not_allowed"),
            gettext_lazy("Enter a name of one line, up to 200 characters."),
        ),
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def withdrawal_page(request: HttpRequest, token: str) -> HttpResponse:
    """The statement; sent, it is the confirmation, and counts once. Knowing the token is the
    permission.
    """
    order = Order.objects.filter(public_token=token).first()
    if order is None:
        return render(request, "404.html", status=404)
    statement = Statement(request.POST if request.method == "POST" else None)
    if statement.is_valid():
        order = _withdrawn(order, name=statement.cleaned_data["name"])
    if order.withdrawn_at:
        return HttpResponseRedirect(reverse("status_page", args=[token]), status=303)
    is_open = may_be_withdrawn(order)
    seen = {
        "order": order,
        "email": masked(order.email),
        "statement": statement,
        "is_open": is_open,
    }
    status = 200
    if statement.is_bound:
        status = 422 if is_open else 409
    return page_of(request, order, "demo/withdrawal.html", seen, status=status)


@transaction.atomic
def _withdrawn(order: Order, *, name: str) -> Order:
    """The order as it is now, withdrawn if it still may be."""
    order = Order.objects.locked(order.pk)
    if may_be_withdrawn(order):
        give_back(withdraw(order, name=name))
    return order
