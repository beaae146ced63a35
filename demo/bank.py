"""The sandbox's bank: the page on which the customer of a `tok_confirm` says yes or no."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from orders.models import Order
from orders.payments.sandbox import Sandbox

WORDS = {"yes": True, "no": False}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, charge_id: str) -> HttpResponse:
    """GET asks the customer, POST decides and leads back to the order. Knowing the id is the
    permission.
    """
    made = Sandbox().read(charge_id) if Sandbox.name == settings.PAYMENT_PROVIDER else None
    if made is None:
        return render(request, "404.html", status=404)
    word = WORDS.get(request.POST.get("word", ""))
    if made.waits and word is not None:
        Sandbox().decide(made, confirmed=word)
    elif made.waits:
        return render(request, "demo/bank.html", {"charge": made})
    order = Order.objects.get(pk=made.metadata["order"])
    return HttpResponseRedirect(reverse("status_page", args=[order.public_token]), status=303)
