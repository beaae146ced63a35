"""What the provider's answer means for an order: it is applied once, however often and in whatever
order answers come.
"""

from orders import snapshots
from orders.models import Order, Refund
from orders.models.refund import Asked
from orders.payments.models import PaymentOperation
from orders.payments.paying import charge_anew
from orders.payments.provider import Charge, ChargeStatus
from orders.states import PASSING, HeldFor, State

KINDS = {"action_required": "order.action_required", "pending": "order.payment_pending"}
UNKNOWN = {  # why an order is on hold whose money nobody knows of
    PaymentOperation.Kind.CHARGE: HeldFor.PAYMENT_UNKNOWN,
    PaymentOperation.Kind.REFUND: HeldFor.REFUND_UNKNOWN,
    PaymentOperation.Kind.TRIED: HeldFor.PAYMENT_UNKNOWN,
}


def apply_answer(
    order: Order, operation: PaymentOperation, answer: Charge
) -> PaymentOperation | None:
    """Take over the provider's answer about an operation of this locked order.

    Returns the operation that follows, whose job the caller promises: the refund of a charge that
    came too late, or the charge of another card.
    """
    following = _take_over(order, operation, answer)
    for made in answer.refunds:
        _note_refund_by_hand(order, made)
    return following


def _take_over(
    order: Order, operation: PaymentOperation, answer: Charge
) -> PaymentOperation | None:
    operation.refresh_from_db()
    if operation.note_disputes(answer.disputes):
        order.hold(HeldFor.DISPUTED, anew=True)
    undone = _comes_undone(operation, answer)
    if operation.has_ended and not undone and not _comes_true_late(operation, answer):
        return None
    operation.note(answer)
    if operation.kind == PaymentOperation.Kind.TRIED:
        order.hold(HeldFor.PAID_TWICE)
        return None
    _release_when_known(order)
    if not operation.is_refund:
        return _apply_charge(order, operation, answer)
    _apply_refund(order, operation, undone=undone)
    return None


def is_news(order: Order, answer: Charge) -> bool:
    """Whether an answer that decides nothing yet holds more than the order shows: its customer has
    to act, or has done so.
    """
    is_open = answer.status == ChargeStatus.PENDING and order.state == State.RESERVED
    return is_open and order.charge_state != _waiting_for(answer)


def _waiting_for(answer: Charge) -> str:
    """Whom an open charge waits for: its customer, or a bank."""
    return "action_required" if answer.action_required else "pending"


def forget(order: Order, operation: PaymentOperation) -> None:
    """End the charge of this cancelled, locked order: the provider never made it, and will not."""
    operation.refresh_from_db()
    if not operation.has_ended:
        operation.state = PaymentOperation.State.VOID
        operation.save(update_fields=["state"])
        order.record("order.payment_failed", charge_state="none")
        _release_when_known(order)


def is_stuck(order: Order, reason: str) -> bool:
    """Whether the step that gave up with this reason is still what the order waits for."""
    if reason == HeldFor.RESERVATION_FAILED:
        return order.state == State.RECEIVED
    kinds = [kind for kind, unknown in UNKNOWN.items() if unknown == reason]
    operations = order.operations.filter(kind__in=kinds)
    return operations.exclude(state__in=PaymentOperation.ENDED).exists()


def _release_when_known(order: Order) -> None:
    if order.held and order.hold_reason in PASSING and not is_stuck(order, order.hold_reason):
        order.release()


def _comes_true_late(operation: PaymentOperation, answer: Charge) -> bool:
    """Whether it is a charge that was declined or given up, and has succeeded after all: it pays
    the order, or is given back if that is cancelled.
    """
    given_up = operation.state in (PaymentOperation.State.DECLINED, PaymentOperation.State.VOID)
    return not operation.is_refund and given_up and answer.status == ChargeStatus.SUCCEEDED


def _comes_undone(operation: PaymentOperation, answer: Charge) -> bool:
    """Whether it is a refund that had succeeded, and that the customer's bank has sent back."""
    given = operation.state == PaymentOperation.State.SUCCEEDED
    return given and operation.is_refund and answer.status == ChargeStatus.DECLINED


def _apply_charge(
    order: Order, operation: PaymentOperation, answer: Charge
) -> PaymentOperation | None:
    match answer.status:
        case ChargeStatus.SUCCEEDED:
            if order.state == State.CANCELLED:
                order.assign(captured=answer.amount)
                late = Refund.objects.promise(order, reason="paid_after_cancellation")
                return late.operation
            order.confirm(captured=answer.amount)
        case ChargeStatus.DECLINED:
            return _apply_decline(order, operation)
        case ChargeStatus.PENDING if is_news(order, answer) and operation.is_wanted_by(order):
            waits_for = _waiting_for(answer)
            kept = [moment for moment in (order.expires_at, answer.may_take_until) if moment]
            order.record(KINDS[waits_for], charge_state=waits_for, expires_at=max(kept))
    return None


def _note_refund_by_hand(order: Order, made: Charge) -> None:
    """Count money that somebody gave back on the provider's own pages; what is still to be sent
    waits for a person. An amount beyond what is refundable beside our own refunds is left for when
    these have ended.
    """
    operation = order.operations.filter(reference=made.id).first()
    fits = made.status != ChargeStatus.DECLINED and made.amount <= order.refundable
    if operation is None and fits:
        if not order.has_ended:
            order.hold(HeldFor.REFUNDED_BY_HAND)
        refund = Refund.objects.promise(order, Asked(amount=made.amount), reason="refunded_by_hand")
        operation = refund.operation
    if operation is not None:
        _take_over(order, operation, made)


def _apply_decline(order: Order, operation: PaymentOperation) -> PaymentOperation | None:
    """End the order of a declined charge, unless its customer has chosen another card or may do so.
    Returns the charge of the chosen one.
    """
    if order.state == State.RESERVED and not operation.is_wanted_by(order):
        return charge_anew(order)
    order.assign(charge_state="failed")
    tried = order.operations.charges().count()
    if order.state == State.CANCELLED or tried < order.payment_attempts:
        order.record("order.payment_failed")
    else:
        order.cancel("payment_declined")
    return None


def _apply_refund(order: Order, operation: PaymentOperation, *, undone: bool) -> None:
    given, pending = order.refunded, order.refund_pending
    if operation.state == PaymentOperation.State.SUCCEEDED:
        given, pending = given + operation.amount, pending - operation.amount
        about: snapshots.About = {"refund": operation.refund.snapshot()}
        order.record("order.refunded", about, refunded=given, refund_pending=pending)
    elif operation.state == PaymentOperation.State.DECLINED:
        if undone:
            given -= operation.amount
        else:
            pending -= operation.amount
        operation.refund.count(order, sign=-1)
        about = {"refund": operation.refund.snapshot()}
        order.record("order.refund_failed", about, refunded=given, refund_pending=pending)
        order.hold(HeldFor.REFUND_FAILED)
