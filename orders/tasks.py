"""The order of steps. Each task loads, does one verb and names the next step; running one twice changes nothing."""

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

from jobs.execution import settle
from orders.clients import IdempotencyKey
from orders.models import Order, State
from orders.payments.models import PaymentOperation
from orders.payments.provider import ChargeStatus, ProviderUnavailable

PATIENT = {
    "autoretry_for": (ProviderUnavailable, SoftTimeLimitExceeded),
    "max_retries": settings.PAYMENT_MAX_RETRIES,
    "retry_backoff": True,
    "retry_backoff_max": settings.PAYMENT_BACKOFF_CAP_S,
}


@shared_task
def reserve(order_id: str) -> None:
    """Promise the goods, then go for the money."""
    order = Order.objects.locked(order_id)
    if order.state != State.RECEIVED or not order.reserve():
        return
    if order.total == 0:
        order.confirm()
        return
    operation = order.intend_charge()
    charge.apply_async((str(operation.pk),), link_error=put_on_desk.si(order_id, "payment_unknown"))


@shared_task(atomic=False, **PATIENT)
def charge(operation_id: str) -> None:
    """Ask the provider for the money, once, and level our rows with what it says."""
    operation = PaymentOperation.objects.get(pk=operation_id)
    if operation.settled:
        return
    charged = operation.carry_out()
    with settle():
        Order.objects.locked(operation.order_id).level(operation, charged)
        if charged.status == ChargeStatus.PENDING:
            desk = put_on_desk.si(str(operation.order_id), "payment_unknown")
            level_payment.apply_async((operation_id,), countdown=2, link_error=desk)


@shared_task(bind=True, atomic=False, **PATIENT)
def level_payment(self: Task, operation_id: str) -> None:
    """Ask what became of a charge until the provider has decided."""
    operation = PaymentOperation.objects.get(pk=operation_id)
    if operation.settled:
        return
    charged = operation.ask()
    if charged is None or charged.status == ChargeStatus.PENDING:
        raise self.retry(countdown=min(2 ** (self.request.retries + 1), settings.PAYMENT_BACKOFF_CAP_S))
    with settle():
        Order.objects.locked(operation.order_id).level(operation, charged)


@shared_task(atomic=False, **PATIENT)
def heed_bell(operation_id: str) -> None:
    """A provider's event rang: ask once what is true. Whoever waits for the decision goes on asking by itself."""
    operation = PaymentOperation.objects.get(pk=operation_id)
    if operation.settled:
        return
    charged = operation.ask()
    if charged is not None:
        with settle():
            Order.objects.locked(operation.order_id).level(operation, charged)


@shared_task
def put_on_desk(order_id: str, reason: str) -> None:
    """A step gave up: a person decides."""
    Order.objects.locked(order_id).hold(reason)


@shared_task
def forget_old_keys() -> int:
    """Idempotency keys are kept for IDEMPOTENCY_KEEP; what one run leaves, its follow-up deletes."""
    forgotten = IdempotencyKey.objects.forget_old(settings.JOBS_BATCH)
    if forgotten == settings.JOBS_BATCH:
        forget_old_keys.delay()
    return forgotten
