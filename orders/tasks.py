"""The order of steps. Each task loads, does one verb and names the next step; running one twice
changes nothing.
"""

from contextlib import AbstractContextManager
from uuid import UUID

from celery import Signature, Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction

from celery_ledger import bulk, context, settle, together
from orders.inputs.order import OrderInput
from orders.models import Client, Erasure, IdempotencyKey, Order, Refund, State
from orders.payments import paying
from orders.payments.models import PaymentOperation
from orders.payments.outcome import UNKNOWN, apply_answer, forget, is_news, is_stuck
from orders.payments.provider import (
    ELSEWHERE,
    Charge,
    ChargeStatus,
    EventNotice,
    ProviderUnavailable,
)
from orders.payments.provider_event import ProviderEvent
from orders.states import HeldFor, PaymentMethod

PATIENT = {
    "atomic": False,
    "threaded": True,
    "autoretry_for": (ProviderUnavailable, SoftTimeLimitExceeded),
    "max_retries": settings.PAYMENT_MAX_RETRIES,
    "retry_backoff": True,
    "retry_backoff_max": settings.PAYMENT_BACKOFF_CAP_S,
}


# --- names of next steps, promised in the caller's transaction ------------------------------------


def serving(order: Order) -> AbstractContextManager[None]:
    """A block in which whatever is promised belongs to the order's client, whoever asked for it."""
    return context.bound(client=str(order.client_id))


def place(client: Client, order_input: OrderInput) -> Order:
    """Accept an order with its event and its first job, in the caller's transaction: the API's way
    and the shop's.
    """
    with together():
        order = Order.objects.place(client, order_input)
        begin(order)
    return order


def begin(order: Order) -> None:
    """Promise the first step of a received order: its goods are set aside."""
    step = reserve if order.payment_method == PaymentMethod.CARD else reserve_uncharged
    with serving(order):
        stuck = hold_order.si(str(order.pk), HeldFor.RESERVATION_FAILED.value)
        step.apply_async((str(order.pk),), link_error=stuck)


def pay_or_confirm(order: Order) -> None:
    """Go on with a reserved order: promise its charge; or confirm it, if nothing is to be paid now.
    One that is paid elsewhere waits until that is noted.
    """
    if order.total == 0 or order.payment_method == PaymentMethod.COD:
        order.confirm()
    elif order.payment_method == PaymentMethod.CARD:
        promise(order.intend_charge())


def pay_again(order: Order, token: str) -> None:
    """Promise the charge of another card of this locked order's customer. Refuses as
    `paying.try_again` does.
    """
    operation = paying.try_again(order, token)
    if operation.state == PaymentOperation.State.INTENDED:
        promise(operation)
    else:
        _ask_on(operation, countdown=0)


def go_on(order: Order) -> None:
    """Promise whatever is next for an order that was released."""
    if order.state == State.RECEIVED:
        begin(order)
    for operation in order.operations.exclude(state__in=PaymentOperation.ENDED):
        promise(operation)


def give_back(promised: Refund | None) -> None:
    """Promise the job of this refund, if there is one that moves money."""
    if promised is not None and promised.operation is not None:
        promise(promised.operation)


def promise(operation: PaymentOperation) -> None:
    """Promise the job that makes this operation at its provider. One that is past every provider is
    made here, by noting it.
    """
    if operation.provider == ELSEWHERE:
        apply_answer(operation.order, operation, operation.as_noted())
        return
    step = refund if operation.is_refund else charge
    with serving(operation.order):
        step.apply_async((str(operation.pk),), link_error=hold_for(operation))


def record_provider_event(provider: str, notice: EventNotice) -> None:
    """Note an event that a provider has sent, once; a job then asks the provider what is true."""
    with transaction.atomic():
        operation = ProviderEvent.objects.record(provider, notice)
        if operation is None:
            return
        with serving(operation.order):
            on_provider_event.apply_async((str(operation.pk),), link_error=hold_for(operation))


def hold_for(operation: PaymentOperation) -> Signature:
    """The job that puts an operation's order on hold, for when nobody can find out what became of
    the operation.
    """
    reason = UNKNOWN[PaymentOperation.Kind(operation.kind)]
    return hold_order.si(str(operation.order_id), reason.value)


# --- an order's way -------------------------------------------------------------------------------


@shared_task(cancellable=True)
def reserve(order_id: str) -> None:
    """Promise the goods, then go for the money."""
    _set_aside(order_id)


@shared_task(cancellable=True)
def reserve_uncharged(order_id: str) -> None:
    """As `reserve`, for an order that is paid elsewhere: workers that would charge it do not know
    this task.
    """
    _set_aside(order_id)


def _set_aside(order_id: str) -> None:
    order = Order.objects.locked(order_id)
    if order.held or order.state != State.RECEIVED:
        return
    with together():
        if order.reserve():
            pay_or_confirm(order)


@shared_task(cancellable=True, **PATIENT)
def charge(operation_id: str) -> None:
    """Ask the provider for the money, once, and apply what it says."""
    _make_and_apply(operation_id)


@shared_task(cancellable=True, **PATIENT)
def refund(operation_id: str) -> None:
    """Ask the provider to give money back, once, and apply what it says."""
    _make_and_apply(operation_id)


@shared_task(bind=True, **PATIENT)
def poll_payment(self: Task, operation_id: str) -> None:
    """Ask what became of an operation until the provider has decided."""
    operation = PaymentOperation.objects.with_order(operation_id)
    if operation.has_ended:
        return
    answer = operation.ask()
    if answer is None and operation.is_moot:
        with settle():
            forget(Order.objects.locked(operation.order_id), operation)
    elif answer is not None and is_news(operation.order, answer):
        with settle():
            _apply(operation, answer)
            _ask_on(operation)
    elif answer is None or answer.status == ChargeStatus.PENDING:
        if self.request.retries == settings.PAYMENT_MAX_RETRIES and operation.may_take_long:
            return  # whoever reconciles asks again
        backoff_s = 2 ** (self.request.retries + 1)
        raise self.retry(countdown=min(backoff_s, settings.PAYMENT_BACKOFF_CAP_S))
    else:
        with settle():
            _apply(operation, answer)


@shared_task(**PATIENT)
def on_provider_event(operation_id: str) -> None:
    """Ask a provider once what is true of an operation that its event was about. Whoever waits for
    the decision goes on asking by itself.
    """
    operation = PaymentOperation.objects.with_order(operation_id)
    answer = operation.ask()
    if answer is not None:
        with settle():
            _apply(operation, answer)


def _make_and_apply(operation_id: str) -> None:
    operation = PaymentOperation.objects.with_order(operation_id)
    if operation.has_ended:
        return
    answer = operation.exchange()
    with settle():
        if answer is not None:
            _apply(operation, answer)
        if operation.is_open:
            _ask_on(operation)


def _ask_on(operation: PaymentOperation, *, countdown: int = 2) -> None:
    with serving(operation.order):
        poll_payment.apply_async(
            (str(operation.pk),), countdown=countdown, link_error=hold_for(operation)
        )


def _apply(operation: PaymentOperation, answer: Charge) -> None:
    order = Order.objects.locked(operation.order_id)
    if following := apply_answer(order, operation, answer):
        promise(following)


@shared_task
def hold_order(order_id: str, reason: str) -> None:
    """Put an order on hold of which a step gave up, unless the order has gone on without it."""
    order = Order.objects.locked(order_id)
    if is_stuck(order, reason):
        order.hold(reason)


# --- a person who wants to be forgotten -----------------------------------------------------------


def forget_person(client_id: UUID, email: str, *, by: str) -> Erasure:
    """Write down an erasure and promise its job, in the caller's transaction; asking twice does no
    harm. Refuses as `Erasure.objects.begin` does.
    """
    erasure = Erasure.objects.begin(client_id, email, by=by)
    with bulk():
        erase.delay(str(erasure.pk))
    return erasure


@shared_task
def erase(erasure_id: str) -> None:
    """Erase a person from some of their orders, and promise the rest."""
    erasure = Erasure.objects.locked(erasure_id)
    if erasure.finished_at is None and erasure.go_on():
        erase.delay(erasure_id)


# --- what the clocks promise ----------------------------------------------------------------------


@shared_task
def expire_orders() -> int:
    """Promise a look at each order whose time is over; what one run leaves, the next one finds."""
    late = Order.objects.expired(settings.BATCH_ROWS)
    for order in late:
        with serving(order):
            expire.delay(str(order.pk))
    return len(late)


@shared_task
def expire(order_id: str) -> None:
    """Cancel an order that nobody has paid for in time, unless that has changed, or a bank is still
    at its money.
    """
    order = Order.objects.locked(order_id)
    if order.is_expired and not paying.is_awaited(order):
        give_back(order.cancel("expired"))


@shared_task
def reconcile_payments() -> int:
    """Ask again about payments that nobody has asked about for a while."""
    alone = PaymentOperation.objects.left_alone(settings.BATCH_ROWS)
    for operation in alone:
        with serving(operation.order):
            poll_payment.apply_async((str(operation.pk),), link_error=hold_for(operation))
    return len(alone)


@shared_task
def forget_old_keys() -> int:
    """Idempotency keys are kept for IDEMPOTENCY_KEEP; what a run leaves, its follow-up deletes."""
    forgotten = IdempotencyKey.objects.forget_old(settings.BATCH_ROWS)
    if forgotten == settings.BATCH_ROWS:
        forget_old_keys.delay()
    return forgotten
