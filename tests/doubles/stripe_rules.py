"""What Stripe does with a request: pure rules from parameters and the book to an outcome that
nobody has written yet.

Payment methods, beside Stripe's own test cards (`pm_card_visa`, …): `pm_double_processing` is
decided later, `pm_double_<flaw>` succeeds with that flaw of the wire (see `stripe.FLAWS`);
`pm_double_used` was used up before, and of the kind of `pm_double_inactive` the account takes none.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.doubles.stripe_book import Book, Object

DECLINES = {
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedLostCard": "lost_card",
}
LATER = {
    "pm_card_threeDSecure2Required": "requires_action",
    "pm_card_authenticationRequired": "requires_action",
    "pm_double_processing": "processing",
    "pm_double_konbini": "requires_action",
    "pm_double_paypay": "requires_action",
}
VOUCHER_S = 3 * 86400
USED_BEFORE = (  # of which Stripe names neither code nor parameter
    "The PaymentMethod was used before without a Customer. It may not be used again."
)
SUCCEEDING = (
    "pm_card_visa",
    "pm_card_mastercard",
    "pm_card_jcb",
    "pm_card_pendingRefund",
    "pm_card_refundFail",
)
REFUNDS = {"pm_card_pendingRefund": "pending", "pm_card_refundFail": "failed"}
INTENT_PARAMS = {
    "amount",
    "currency",
    "payment_method",
    "confirm",
    "automatic_payment_methods[enabled]",
    "return_url",
    "automatic_payment_methods[allow_redirects]",
    "off_session",
    "description",
}
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action", "processing")


@dataclass
class Outcome:
    """An answer, and what has to be in the book before it is given."""

    status: int
    body: Object
    objects: list[Object] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)


THREE_DECIMALS = frozenset("bhd jod kwd omr tnd".split())


class Refusal(Exception):
    """Parameters that are not valid: nothing is executed, and nothing stored under the key."""

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **more}}


def invalid(message: str, code: str = "parameter_invalid", param: str = "") -> Refusal:
    return Refusal(400, "invalid_request_error", message, code=code, param=param)


# --- payment intents ------------------------------------------------------------------------------


def create_intent(book: Book, params: dict[str, str]) -> Outcome:
    _known(params, INTENT_PARAMS)
    method = params.get("payment_method", "")
    amount = _amount(params, params.get("currency", ""))
    _refuse_unless_makeable(params)
    made = _intent(params, amount)
    if method in DECLINES:
        return _decline(made, DECLINES[method])
    created = _event("payment_intent.created", made)
    decided = decide(made, LATER.get(method, "succeeded"))
    decided.events.insert(0, created)
    return decided


def _refuse_unless_makeable(params: dict[str, str]) -> None:
    method = params.get("payment_method", "")
    if len(params.get("currency", "")) != 3 or params["currency"] != params["currency"].lower():
        raise invalid("Invalid currency: must be three lower-case letters.", param="currency")
    _refuse_unless_chargeable(method)
    if params.get("confirm") != "true":
        raise invalid("The double makes and confirms in one call only.", param="confirm")
    stays = params.get("automatic_payment_methods[allow_redirects]") == "never"
    if not stays and "return_url" not in params:
        raise invalid(
            "You must provide a `return_url`, or set allow_redirects to never.", param="return_url"
        )
    if method == "pm_double_paypay" and "return_url" not in params:
        raise invalid("This payment method leads its customer away.", param="payment_method")


def _intent(params: dict[str, str], amount: int) -> Object:
    """As it is made, before anything is decided."""
    intent_id = _id("pi")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "client_secret": f"{intent_id}_{_id('secret')}",
        "amount": amount,
        "amount_received": 0,
        "livemode": False,
        "currency": params["currency"],
        "status": "processing",
        "payment_method": params.get("payment_method", ""),
        "return_url": params.get("return_url"),
        "created": int(time.time()),
        "created_exactly": time.time(),
        "metadata": _metadata(params),
        "latest_charge": None,
        "next_action": None,
        "last_payment_error": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
    }


def _refuse_unless_chargeable(method: str) -> None:
    if not (
        method in DECLINES
        or method in LATER
        or method in SUCCEEDING
        or method.startswith("pm_double_")
    ):
        raise invalid(f"No such PaymentMethod: '{method}'", "resource_missing", "payment_method")
    if method == "pm_double_used":
        raise Refusal(400, "invalid_request_error", USED_BEFORE)
    if method == "pm_double_inactive":
        message = "The payment method type is not activated: see your dashboard."
        raise invalid(message, "payment_method_unactivated", "payment_method_types")


def decide(intent: Object, status: str) -> Outcome:
    """The intent in its next status, with what Stripe would tell of it."""
    made = {**intent, "status": status, "next_action": None}
    kinds = [f"payment_intent.{status}"]
    match status:
        case "succeeded":
            made |= {
                "amount_received": made["amount"],
                "latest_charge": _id("ch"),
                "last_payment_error": None,
            }
            charge = _charge(made)
            announced = [
                _event("payment_intent.succeeded", made),
                _event("charge.succeeded", charge),
            ]
            return Outcome(200, made, [made, charge], announced)
        case "requires_action":
            made |= {"next_action": _next_action(made)}
        case "requires_payment_method":
            made |= {"last_payment_error": _card_error("generic_decline"), "payment_method": None}
            kinds = ["payment_intent.payment_failed"]
        case "canceled":
            made |= {"canceled_at": int(time.time())}
    return Outcome(200, made, [made], [_event(kind, made) for kind in kinds])


def _next_action(made: Object) -> Object:
    if made["payment_method"] == "pm_double_konbini":
        voucher = {
            "expires_at": int(time.time()) + VOUCHER_S,
            "hosted_voucher_url": f"https://payments.stripe.test/voucher/{made['id']}",
        }
        return {"type": "konbini_display_details", "konbini_display_details": voucher}
    if made["return_url"]:
        page = {
            "url": f"https://hooks.stripe.test/redirect/{made['id']}",
            "return_url": made["return_url"],
        }
        return {"type": "redirect_to_url", "redirect_to_url": page}
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {}}


def cancel_intent(book: Book, params: dict[str, str], id_: str) -> Outcome:
    _known(params, {"cancellation_reason"})
    intent = _found(book, id_, "payment_intent")
    if intent["status"] not in OPEN or intent["status"] == "processing":
        message = (
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        )
        raise Refusal(400, "invalid_request_error", message, code="payment_intent_unexpected_state")
    return decide({**intent, "cancellation_reason": params.get("cancellation_reason")}, "canceled")


def _decline(made: Object, decline_code: str) -> Outcome:
    failed = decide(made, "requires_payment_method")
    error = _card_error(decline_code)
    failed.objects[0]["last_payment_error"] = error
    body = {"error": {**error, "payment_intent": failed.objects[0]}}
    return Outcome(
        402, body, failed.objects, [_event("payment_intent.created", made), *failed.events]
    )


def _card_error(decline_code: str) -> Object:
    message = "Your card was declined."
    return {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": decline_code,
        "message": message,
    }


def _charge(intent: Object) -> Object:
    """A charge has its intent's metadata, copied when it was made."""
    return {
        "id": intent["latest_charge"],
        "object": "charge",
        "amount": intent["amount"],
        "amount_refunded": 0,
        "currency": intent["currency"],
        "payment_intent": intent["id"],
        "metadata": dict(intent["metadata"]),
        "created": int(time.time()),
        "refunded": False,
        "disputed": False,
        "status": "succeeded",
    }


# --- refunds and disputes -------------------------------------------------------------------------


def create_refund(book: Book, params: dict[str, str]) -> Outcome:
    _known(params, {"payment_intent", "amount", "reason"})
    intent = _found(book, params.get("payment_intent", ""), "payment_intent")
    if intent["status"] != "succeeded":
        raise invalid(
            "This PaymentIntent does not have a successful charge to refund.",
            "charge_not_refundable",
        )
    charge = book.objects[intent["latest_charge"]]
    left = charge["amount"] - charge["amount_refunded"]
    amount = _amount(params, intent["currency"]) if "amount" in params else left
    if not left:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.", "charge_already_refunded"
        )
    if amount > left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).",
            param="amount",
        )
    status = REFUNDS.get(intent["payment_method"], "succeeded")
    refund = {
        "id": _id("re"),
        "object": "refund",
        "amount": amount,
        "currency": intent["currency"],
        "charge": charge["id"],
        "payment_intent": intent["id"],
        "created": int(time.time()),
        "status": status,
        "metadata": _metadata(params),
        "reason": params.get("reason"),
        "failure_reason": "expired_or_canceled_card" if status == "failed" else None,
    }
    announced = [_event("refund.created", refund)]
    if status == "failed":
        return Outcome(200, refund, [refund], [*announced, _event("refund.failed", refund)])
    refunded = charge["amount_refunded"] + amount
    charge = {**charge, "amount_refunded": refunded, "refunded": refunded == charge["amount"]}
    return Outcome(200, refund, [refund, charge], [*announced, _event("charge.refunded", charge)])


def decide_refund(book: Book, refund_id: str, status: str) -> Outcome:
    """A refund that fails after all puts its money back where it came from."""
    refund, charge = book.objects[refund_id], book.objects[book.objects[refund_id]["charge"]]
    if status != "failed":
        made = {**refund, "status": status}
        return Outcome(200, made, [made], [_event("refund.updated", made)])
    made = {**refund, "status": status, "failure_reason": "lost_or_stolen_card"}
    charge = {
        **charge,
        "amount_refunded": charge["amount_refunded"] - made["amount"],
        "refunded": False,
    }
    return Outcome(200, made, [made, charge], [_event("refund.failed", made)])


def open_dispute(book: Book, intent_id: str) -> Outcome:
    """A bank takes money back. Its event names the payment, and knows nothing of our metadata."""
    charge = book.objects[book.objects[intent_id]["latest_charge"]]
    dispute = {
        "id": _id("dp"),
        "object": "dispute",
        "amount": charge["amount"],
        "charge": charge["id"],
        "metadata": {},
        "payment_intent": intent_id,
        "status": "needs_response",
        "reason": "fraudulent",
        "created": int(time.time()),
    }
    return Outcome(
        200,
        dispute,
        [dispute, {**charge, "disputed": True}],
        [_event("charge.dispute.created", dispute)],
    )


def move_dispute(book: Book, intent_id: str, word: str, status: str) -> Outcome:
    """What becomes of it. Also when it is won the charge stays one that was disputed."""
    opened = next(made for made in book.of_kind("dispute") if made["payment_intent"] == intent_id)
    moved = {**opened, "status": status}
    return Outcome(200, moved, [moved], [_event(f"charge.dispute.{word}", moved)])


# --- reading --------------------------------------------------------------------------------------


def retrieve(kind: str) -> Callable[[Book, dict[str, str], str], Outcome]:
    def read(book: Book, params: dict[str, str], id_: str) -> Outcome:
        made = _found(book, id_, kind)
        expanded = [value for name, value in params.items() if name.startswith("expand[")]
        snapshot = {
            **made,
            **{name: book.objects[made[name]] for name in expanded if made.get(name)},
        }
        if "latest_charge.refunds" in expanded and made["latest_charge"]:
            refunds = [one for one in book.of_kind("refund") if one["payment_intent"] == id_]
            listed = {"object": "list", "has_more": len(refunds) > 10, "data": refunds[:10]}
            snapshot["latest_charge"] = {**snapshot["latest_charge"], "refunds": listed}
        return Outcome(200, snapshot)

    return read


def listed(kind: str, path: str) -> Callable[[Book, dict[str, str]], Outcome]:
    def list_them(book: Book, params: dict[str, str]) -> Outcome:
        _known(
            params, {"limit", "starting_after", "created[gte]", "created[lte]", "payment_intent"}
        )
        limit = int(params.get("limit", "10"))
        if not 1 <= limit <= 100:
            raise invalid("This value must be between 1 and 100.", param="limit")
        found = [made for made in book.of_kind(kind) if _matches(made, params)]
        if after := params.get("starting_after"):
            ids = [made["id"] for made in found]
            if after not in ids:
                raise invalid(f"No such {kind}: '{after}'", "resource_missing", "starting_after")
            found = found[ids.index(after) + 1 :]
        page, more = found[:limit], len(found) > limit
        return Outcome(200, {"object": "list", "url": path, "has_more": more, "data": page})

    return list_them


def _matches(made: Object, params: dict[str, str]) -> bool:
    return (
        made["created"] >= int(params.get("created[gte]", "0"))
        and made["created"] <= int(params.get("created[lte]", str(10**12)))
        and params.get("payment_intent") in (None, made.get("payment_intent"))
    )


def _found(book: Book, id_: str, kind: str) -> Object:
    made = book.objects.get(id_)
    if made is None or made["object"] != kind:
        raise Refusal(
            404,
            "invalid_request_error",
            f"No such {kind}: '{id_}'",
            code="resource_missing",
            param="intent",
        )
    return made


def _known(params: dict[str, str], names: set[str]) -> None:
    for name in params:
        if name not in names and not name.startswith("metadata["):
            raise invalid(f"Received unknown parameter: {name}", "parameter_unknown", name)


def _positive(params: dict[str, str], name: str) -> int:
    value = params.get(name, "")
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 10**12):
        raise invalid(f"Invalid positive integer: {value!r}", "parameter_invalid_integer", name)
    return int(value)


def _amount(params: dict[str, str], currency: str) -> int:
    amount = _positive(params, "amount")
    if currency in THREE_DECIMALS and amount % 10:
        message = f"Invalid amount: the last digit of {currency} must be 0."
        raise invalid(message, "amount_invalid", "amount")
    return amount


def _metadata(params: dict[str, str]) -> dict[str, str]:
    return {name[9:-1]: value for name, value in params.items() if name.startswith("metadata[")}


def _event(kind: str, about: Object) -> Object:
    return {
        "id": _id("evt"),
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": copy.deepcopy(about)},
    }


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex[:24]}"
