"""The order of steps. Each task loads, does one verb and names the next step; running one twice changes nothing."""

from contextlib import AbstractContextManager

from celery import Signature, Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

from celery_ledger import context, settle
from orders.models import Client, IdempotencyKey, Order, Refund, State
from orders.order_input import OrderDraft
from orders.payments.models import PaymentOperation
from orders.payments.outcome import UNKNOWN, forget, is_news, is_stuck, level
from orders.payments.provider import Charge, ChargeStatus, ProviderUnavailable

PATIENT = {
    "autoretry_for": (ProviderUnavailable, SoftTimeLimitExceeded),
    "max_retries": settings.PAYMENT_MAX_RETRIES,
    "retry_backoff": True,
    "retry_backoff_max": settings.PAYMENT_BACKOFF_CAP_S,
}


# --- names of next steps, promised in the caller's transaction -----------------------------------------------


def serving(order: Order) -> AbstractContextManager[None]:
    """What is promised in this block belongs to the order's client, whoever asked for it."""
    return context.bound(client=str(order.client_id))


def place(client: Client, draft: OrderDraft) -> Order:
    """Accept an order with its event and its first job, in the caller's transaction: the API's way and the shop's."""
    order = Order.objects.place(client, draft)
    begin(order)
    return order


def begin(order: Order) -> None:
    """A received order: its goods are next."""
    with serving(order):
        reserve.apply_async(
            (str(order.pk),), link_error=put_on_desk.si(str(order.pk), "reservation_failed")
        )


def go_on(order: Order) -> None:
    """An order that was taken off the desk: whatever is next for it."""
    if order.state == State.RECEIVED:
        begin(order)
    for operation in order.operations.exclude(state__in=PaymentOperation.SETTLED):
        carry_out(operation)


def pay_back(refund: Refund | None) -> None:
    """A refund that was promised, if one was."""
    if refund is not None and refund.operation is not None:
        carry_out(refund.operation)


def carry_out(operation: PaymentOperation) -> None:
    step = charge if operation.kind == PaymentOperation.Kind.CHARGE else pay
    with serving(operation.order):
        step.apply_async((str(operation.pk),), link_error=desk_of(operation))


def desk_of(operation: PaymentOperation) -> Signature:
    return put_on_desk.si(str(operation.order_id), UNKNOWN[PaymentOperation.Kind(operation.kind)])


# --- an order's way ----------------------------------------------------------------------------------------------


@shared_task(cancellable=True)
def reserve(order_id: str) -> None:
    """Promise the goods, then go for the money."""
    order = Order.objects.locked(order_id)
    if order.held or order.state != State.RECEIVED or not order.reserve():
        return
    if order.total == 0:
        order.confirm()
    else:
        carry_out(order.intend_charge())


@shared_task(atomic=False, cancellable=True, **PATIENT)
def charge(operation_id: str) -> None:
    """Ask the provider for the money, once, and level our rows with what it says."""
    _carry_out(operation_id)


@shared_task(atomic=False, cancellable=True, **PATIENT)
def pay(operation_id: str) -> None:
    """Ask the provider to give money back, once, and level our rows with what it says."""
    _carry_out(operation_id)


@shared_task(bind=True, atomic=False, **PATIENT)
def level_payment(self: Task, operation_id: str) -> None:
    """Ask what became of an operation until the provider has decided."""
    operation = PaymentOperation.objects.with_order(operation_id)
    if operation.settled:
        return
    answer = operation.ask()
    if answer is not None and answer.action_required and operation.order.state == "cancelled":
        answer = operation.call_off()
    if answer is None and operation.is_moot:
        with settle():
            forget(Order.objects.locked(operation.order_id), operation)
    elif answer is not None and is_news(operation.order, answer):
        with settle():
            _level(operation, answer)
            _ask_on(operation)
    elif answer is None or answer.status == ChargeStatus.PENDING:
        raise self.retry(
            countdown=min(2 ** (self.request.retries + 1), settings.PAYMENT_BACKOFF_CAP_S)
        )
    else:
        with settle():
            _level(operation, answer)


@shared_task(atomic=False, **PATIENT)
def heed_bell(operation_id: str) -> None:
    """A provider's event rang: ask once what is true. Whoever waits for the decision goes on asking by itself."""
    operation = PaymentOperation.objects.with_order(operation_id)
    answer = operation.ask()
    if answer is not None:
        with settle():
            _level(operation, answer)


def _carry_out(operation_id: str) -> None:
    operation = PaymentOperation.objects.with_order(operation_id)
    if operation.settled:
        return
    answer = operation.carry_out()
    with settle():
        if answer is not None:
            _level(operation, answer)
        if operation.is_open:
            _ask_on(operation)


def _ask_on(operation: PaymentOperation) -> None:
    with serving(operation.order):
        level_payment.apply_async((str(operation.pk),), countdown=2, link_error=desk_of(operation))


def _level(operation: PaymentOperation, answer: Charge) -> None:
    pay_back(level(Order.objects.locked(operation.order_id), operation, answer))


@shared_task
def put_on_desk(order_id: str, reason: str) -> None:
    """A step gave up: a person decides, unless the order has gone on without it."""
    order = Order.objects.locked(order_id)
    if is_stuck(order, reason):
        order.hold(reason)


# --- what the clocks promise ---------------------------------------------------------------------------------------


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
    """Give back what nobody has paid for, unless that has changed."""
    order = Order.objects.locked(order_id)
    if order.is_expired:
        pay_back(order.cancel("expired"))


@shared_task
def reconcile_payments() -> int:
    """Ask again about payments that nobody has asked about for a while."""
    alone = PaymentOperation.objects.left_alone(settings.BATCH_ROWS)
    for operation in alone:
        with serving(operation.order):
            level_payment.apply_async((str(operation.pk),), link_error=desk_of(operation))
    return len(alone)


@shared_task
def forget_old_keys() -> int:
    """Idempotency keys are kept for IDEMPOTENCY_KEEP; what one run leaves, its follow-up deletes."""
    forgotten = IdempotencyKey.objects.forget_old(settings.BATCH_ROWS)
    if forgotten == settings.BATCH_ROWS:
        forget_old_keys.delay()
    return forgotten
