"""The page on which a customer watches an order, and its receipt: HTTP, and the words for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.csp import CSP
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, override
from django.views.decorators.cache import never_cache
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_safe

from demo.menu import CLIENT
from demo.paying import card_form
from notifications.models import Shop
from orders.models import Order, State, is_withdrawn, may_be_withdrawn
from orders.payments.paying import action_of
from orders.states import UNMET, PaymentMethod, PaymentState
from orders.way import way_of
from values.money import Payback, payback, written

POLL_S = {State.RECEIVED: 1, State.RESERVED: 1, State.CONFIRMED: 10}  # others have ended
HELD_POLL_S = 10
RELOAD_MIN_S = 3  # without JavaScript

WORDS: Mapping[str, tuple[Promise, Promise]] = {
    "received": (gettext_lazy("We have your order"), gettext_lazy("Now we set your goods aside.")),
    "reserved": (
        gettext_lazy("Waiting for your payment"),
        gettext_lazy("Your goods are set aside. You may close this page: we will write to you."),
    ),
    "action_required": (
        gettext_lazy("Your bank asks you to confirm"),
        gettext_lazy("Your dishes are set aside. We go on as soon as you have said yes."),
    ),
    "failed": (
        gettext_lazy("Payment declined"),
        gettext_lazy("Your dishes are still set aside: you can pay with another card in the shop."),
    ),
    "confirmed": (
        gettext_lazy("Confirmed and paid"),
        gettext_lazy("Thank you! We are getting it ready."),
    ),
    "confirmed_unpaid": (  # it costs nothing, or the money has gone back
        gettext_lazy("Your order is confirmed"),
        gettext_lazy("Thank you! We are getting it ready."),
    ),
    "completed": (gettext_lazy("Delivered"), gettext_lazy("Thank you for your order.")),
    "cut_short": (
        gettext_lazy("Delivered in part"),
        gettext_lazy("The rest of your order was cancelled."),
    ),
    "cancelled": (gettext_lazy("Cancelled"), gettext_lazy("This order was cancelled.")),
    "out_of_stock": (
        gettext_lazy("Sold out"),
        gettext_lazy("We are sorry: something you chose was sold just before."),
    ),
    "payment_declined": (
        gettext_lazy("Payment declined"),
        gettext_lazy("Your bank declined the card."),
    ),
    "withdrawn": (
        gettext_lazy("You have withdrawn from the contract"),
        gettext_lazy("We have your withdrawal, and you get a receipt by mail."),
    ),
    "held": (
        gettext_lazy("We are looking into it"),
        gettext_lazy(
            "A person is checking your order. You need not do anything, and you never pay twice."
        ),
    ),
}
AT_THE_COUNTER: Mapping[str, Promise] = {  # the demo shop's own explanations
    "received": gettext_lazy("Now we set your dishes aside."),
    "reserved": gettext_lazy(
        "Your dishes are set aside. You may close this page: we will write to you."
    ),
    "confirmed": gettext_lazy("Thank you! The kitchen is at work."),
    "confirmed_unpaid": gettext_lazy("Thank you! The kitchen is at work."),
    "completed": gettext_lazy("Enjoy your meal!"),
}
PAID_WITH: Mapping[str, Promise] = {
    PaymentMethod.CARD: gettext_lazy("card"),
    PaymentMethod.MANUAL: gettext_lazy("as agreed with the shop"),
    PaymentMethod.COD: gettext_lazy("cash on delivery"),
    PaymentMethod.BANK_TRANSFER: gettext_lazy("bank transfer"),
}
PAYBACKS: Mapping[Payback, Promise] = {
    Payback.UNCHARGED: gettext_lazy("You have not been charged."),
    Payback.UNSETTLED: gettext_lazy(
        "You have not been charged so far; if a payment still arrives, it is paid back."
    ),
    Payback.WHOLE: gettext_lazy("What you paid, %(paid)s, is paid back."),
    Payback.PART: gettext_lazy("Of the %(paid)s that you paid, %(back)s is paid back."),
    Payback.NOTHING: gettext_lazy("Of the %(paid)s that you paid, nothing is paid back."),
}


@never_cache
@require_safe
@csp_override({**settings.SECURE_CSP, "img-src": [CSP.SELF, "https:"]})  # the shop's logo
def status_page(request: HttpRequest, token: str) -> HttpResponse:
    """Where the order is. Knowing the token is the permission, so nobody may keep or index the
    page.

    htmx asks for the changing part, with the version of the order that the page shows, and gets 204
    when that is the newest.
    """
    order = Order.objects.filter(public_token=token).select_related("client").first()
    if order is None:
        return render(request, "404.html", status=404)
    polls = bool(request.headers.get("HX-Request"))
    if polls and request.GET.get("version") == str(order.version):
        return HttpResponse(status=204)
    page = "demo/status.html" if polls else "demo/order.html"
    return page_of(request, order, page, _seen_by_customer(order) | {"polls": polls})


@never_cache
@require_safe
def receipt_page(request: HttpRequest, token: str) -> HttpResponse:
    """What was paid, to print. Unlike the receipt that was mailed it does not name the customer."""
    order = Order.objects.filter(public_token=token).first()
    if order is None or not order.captured:
        return render(request, "404.html", status=404)
    seen = {"order": order, "paid_with": PAID_WITH[order.payment_method]}
    return page_of(request, order, "demo/receipt.html", seen)


def page_of(
    request: HttpRequest, order: Order, page: str, seen: dict[str, object], *, status: int = 200
) -> HttpResponse:
    """A page for the order's customer, in their language and the shop's name and time zone."""
    shop = Shop.objects.of(order.client_id)
    language = _language(request, order, shop)
    with override(language), timezone.override(shop.zone):
        response = render(request, page, seen | {"shop": shop}, status=status)
    response["Content-Language"] = language
    response["X-Robots-Tag"] = "noindex"
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    return response


def _language(request: HttpRequest, order: Order, shop: Shop) -> str:
    """The language that the visitor chose on our pages; or else the one that the order was placed
    in, the one that the browser asks for, or the shop's own.
    """
    ordered_in, chosen = order.locale.partition("-")[0], get_language() or shop.language
    if settings.LANGUAGE_COOKIE_NAME in request.COOKIES:
        return chosen
    if ordered_in in dict(settings.LANGUAGES):
        return ordered_in
    return chosen if "Accept-Language" in request.headers else shop.language


def _poll_s(order: Order) -> int | None:
    """How long its page waits until it looks again; None when it can show nothing new."""
    if order.state not in POLL_S:
        return None
    if order.held or order.payment_method != PaymentMethod.CARD:
        return HELD_POLL_S
    return POLL_S[State(order.state)]


def _seen_by_customer(order: Order) -> dict[str, object]:
    poll_s, at_the_counter = _poll_s(order), order.client.name == CLIENT
    headline, explanation = _words(order, at_the_counter=at_the_counter)
    return {
        "order": order,
        "at_the_counter": at_the_counter,
        "headline": headline,
        "explanation": explanation,
        "payback": _payback(order) if order.was_cancelled else "",
        "action": action_of(order),
        "card_form": card_form(order),
        "belt": way_of(order),
        "parcels": order.fulfilments.filter(cancelled_at=None).order_by("pk"),
        "withdrawn_from": _pieces(order, order.withdrawn_lines or []),
        "may_be_withdrawn": may_be_withdrawn(order),
        "email": masked(order.email),
        "paid_with": PAID_WITH[order.payment_method],
        "goes_to": _goes_to(order.shipping_address),
        "poll_s": poll_s,
        "reload_s": poll_s and max(poll_s, RELOAD_MIN_S),
    }


def _words(order: Order, *, at_the_counter: bool) -> tuple[Promise, Promise]:
    standing = _standing(order)
    headline, explanation = WORDS[standing]
    if at_the_counter:
        explanation = AT_THE_COUNTER.get(standing, explanation)
    return headline, explanation


def _standing(order: Order) -> str:
    """Under which name the order's words stand in WORDS."""
    if is_withdrawn(order):
        return "withdrawn"
    if order.state == State.CANCELLED:
        return order.reason if order.reason in UNMET and order.reason in WORDS else "cancelled"
    if order.held:
        return "held"
    if order.state == State.COMPLETED and order.was_cancelled:
        return "cut_short"
    if order.state == State.CONFIRMED and order.payment_state != PaymentState.PAID:
        return "confirmed_unpaid"
    waits = order.state == State.RESERVED and order.payment_state in WORDS
    return order.payment_state if waits else order.state


def _payback(order: Order) -> str:
    """What the end of an order that was cancelled means for the customer's money."""
    back = order.refunded + order.refund_pending
    word = payback(captured=order.captured, back=back, payment_state=order.payment_state)
    paid, back_ = (written(amount, order.currency) for amount in (order.captured, back))
    return str(PAYBACKS[word]) % {"paid": paid, "back": back_}


def _pieces(order: Order, parts: Sequence[Mapping[str, Any]]) -> str:
    """The units of these parts of its lines, in words."""
    units = order.units_at(parts)
    return ", ".join(f"{line.title} × {number}" for line, number in units)


def _goes_to(address: Mapping[str, str | None]) -> str:
    """佐•••, 渋谷区, JP: enough to see that it is the right one."""
    name = address.get("name") or ""
    parts = [f"{name[:1]}•••" if name else ""]
    parts += [address.get(member) or "" for member in ("city", "region", "country")]
    return ", ".join(filter(None, parts))


def masked(email: str) -> str:
    """h•••@example.com: enough to recognise one's own address, too little to learn another's."""
    name, _at, domain = email.rpartition("@")
    return f"{name[:1]}•••@{domain}"
