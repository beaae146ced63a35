"""Any two verbs that meet at one order come to what they come to one after the other. Both are made
to wait for its row, so whatever one of them has read before then is old.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.events import timeline
from orders.audit import MONEY, STOCK, broken, disputed_by_provider
from orders.models import Erasure, Order
from orders.payments.models import PaymentOperation
from orders.payments.sandbox import Sandbox
from orders.payments.sandbox_book import SandboxCharge, SandboxRefund
from orders.tasks import erase, expire, on_provider_event
from tests.postgres.hands import Hand
from tests.shop import Api, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak, pytest.mark.timeout(300)]
Make = Callable[[], Order]
Verb = Callable[[Api, Order], Any]
LIMIT_S = 10.0
ONE = {"lines": [{"position": 0, "quantity": 1}]}
VOLATILE = {"id", "number", "external_id", "created_at", "updated_at", "links"}


def call(word: str, body: Any = None) -> Verb:
    """A POST to this resource of the order; {fulfilment} and {back} stand for its first."""

    def verb(api: Api, order: Order) -> str:
        ids = {
            "fulfilment": order.fulfilments.values_list("pk", flat=True).first(),
            "back": order.returns.values_list("pk", flat=True).first(),
        }
        return answered(post(api, f"/v1/orders/{order.pk}/{word.format(**ids)}", body))

    return verb


def patch(api: Api, order: Order) -> str:
    body = {"note": "rings twice", "customer": {"name": "Hana"}}
    return answered(api.patch(f"/v1/orders/{order.pk}", body, content_type="application/json"))


def withdraw(api: Api, order: Order) -> str:
    return answered(HttpClient().post(f"/o/{order.public_token}/withdraw/", {"name": "Hana"}))


def expiry(api: Api, order: Order) -> None:
    with transaction.atomic():
        expire.run(str(order.pk))


def forget(api: Api, order: Order) -> None:
    erasure = Erasure.objects.get(by=str(order.pk))
    with transaction.atomic():
        erase.run(str(erasure.pk))


def bank_says_yes(api: Api, order: Order) -> None:
    """And a job asks it, which is what the bank's webhook leads to."""
    charge = SandboxCharge.objects.filter(key__startswith=str(order.pk)).latest("created_at")
    if charge.waits:
        Sandbox()._decided(charge, "")
    operation = PaymentOperation.objects.charges().filter(order=order).latest("pk")
    on_provider_event.apply((str(operation.pk),), throw=True)


def answered(answer: Any) -> str:
    problem = answer.headers["Content-Type"].startswith("application/problem")
    return f"{answer.status_code} {answer.json()['type'] if problem else ''}"


GOODS: dict[str, Verb] = {
    "cancel": call("cancel"),
    "send": call("fulfilments"),
    "un-ship": call("fulfilments/{fulfilment}/cancel"),
    "refund": call("refunds", {"reason": "x"}),
    "receive": call("returns/{back}/receive"),
    "withdraw": withdraw,
    "hold": call("hold", {"reason": "looks odd"}),
}
UNPAID: dict[str, Verb] = {
    "pay again": call("payments", {"token": "tok_ok"}),
    "mark paid": call("mark-paid", {"reference": "cash"}),
    "cancel": call("cancel"),
    "hold": call("hold", {"reason": "looks odd"}),
    "change": patch,
}
LATE: dict[str, Verb] = {"expiry": expiry, **UNPAID}
ENDED: dict[str, Verb] = {
    "erase": forget,
    "change": patch,
    "un-ship": call("fulfilments/{fulfilment}/cancel"),
    "refund": call("refunds", {"reason": "x"}),
    "announce": call("returns", ONE),
    "receive": call("returns/{back}/receive"),
    "withdraw": withdraw,
}
ELSEWHERE = {name: LATE[name] for name in ("mark paid", "cancel", "expiry")}
AT_THE_BANK = {"bank": bank_says_yes, **{name: UNPAID[name] for name in ("pay again", "cancel")}}


@dataclass(frozen=True)
class Came:
    """What two verbs came to: what each answered, and how the order stands."""

    first: str
    second: str
    in_turn: list[Any]
    order: dict[str, Any]

    def is_as(self, *others: "Came") -> bool:
        mine = (self.answers, self.order)
        return any(mine == (other.answers, other.order) for other in others)

    def beside(self, other: "Came") -> tuple[Any, ...]:
        """What is another than there."""
        differs = {
            name: (value, other.order[name])
            for name, value in self.order.items()
            if value != other.order[name]
        }
        return self.first, self.second, self.answers, other.answers, differs

    @property
    def answers(self) -> list[tuple[str, Any]]:
        return sorted(zip((self.first, self.second), self.in_turn, strict=True), key=str)


@pytest.fixture
def placed(api: Api, stock: Any, order_body: Callable[..., Any], settings: Any) -> Make:
    """Orders of three pieces, each of a customer of its own."""
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 14}
    stock(on_hand=10_000)

    def place(**changes: Any) -> Order:
        name = str(uuid4())
        line = {"sku": "SAKE-NIGIRI", "quantity": 3, "unit_price": 300}
        body = order_body(
            external_id=name, email=f"{name}@example.com", lines=[line], total=900, **changes
        )
        order_id = api.place(body, key=name).json()["id"]
        work_off_unmailed()
        return Order.objects.get(pk=order_id)

    return place


@pytest.fixture
def part_sent(api: Api, placed: Make) -> Make:
    """Two units are sent, one of which is announced to come back."""

    def make() -> Order:
        order = placed()
        for word in ("fulfilments", "fulfilments"):
            assert post(api, f"/v1/orders/{order.pk}/{word}", ONE).status_code == 201
        assert post(api, f"/v1/orders/{order.pk}/returns", ONE).status_code == 201
        return order

    return make


@pytest.fixture
def ended(api: Api, placed: Make) -> Make:
    """All is sent, one unit is announced to come back, and the person wants to be forgotten."""

    def make() -> Order:
        order = placed()
        two = {"lines": [{"position": 0, "quantity": 2}]}
        for body in (two, ONE):
            assert post(api, f"/v1/orders/{order.pk}/fulfilments", body).status_code == 201
        assert post(api, f"/v1/orders/{order.pk}/returns", ONE).status_code == 201
        with transaction.atomic():
            Erasure.objects.create(client=order.client, email=order.email, by=str(order.pk))
        return order

    return make


@pytest.fixture
def declined(placed: Callable[..., Order]) -> Make:
    return lambda: placed(payment={"token": "tok_declined", "attempts": 2})


@pytest.fixture
def late(declined: Make) -> Make:
    """Its time to pay is over, and no clock has seen it yet."""

    def make() -> Order:
        order = declined()
        Order.objects.filter(pk=order.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        return order

    return make


@pytest.fixture
def asked(placed: Callable[..., Order]) -> Make:
    """The bank waits for its customer."""
    return lambda: placed(payment={"token": "tok_confirm", "attempts": 2})


@pytest.fixture
def elsewhere(placed: Callable[..., Order]) -> Make:
    return lambda: placed(payment={"method": "manual"})


@pytest.fixture
def hands() -> Iterator[tuple[Hand, Hand]]:
    with ExitStack() as held:
        yield held.enter_context(Hand()), held.enter_context(Hand())


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        pytest.param("part_sent", GOODS, marks=pytest.mark.soak),
        pytest.param("ended", ENDED, marks=pytest.mark.soak),
        pytest.param("declined", UNPAID, marks=pytest.mark.soak),
        ("late", {name: LATE[name] for name in ("expiry", "pay again", "mark paid", "cancel")}),
        ("elsewhere", ELSEWHERE),
        ("asked", AT_THE_BANK),
    ],
)
def test_two_that_meet_come_to_what_they_come_to_one_after_the_other(
    api: Api, hands: tuple[Hand, Hand], state: str, verbs: dict[str, Verb], request: Any
) -> None:
    make: Make = request.getfixturevalue(state)
    pairs = list(product(verbs, repeat=2))
    after = {}
    for first, second in pairs:
        order = make()
        in_turn = [verbs[name](api, order) for name in (first, second)]
        after[first, second] = Came(first, second, in_turn, outcome(order))
    wrong = []
    for first, second in pairs:
        order = make()
        both = (partial(verbs[name], api, order) for name in (first, second))
        met = Came(first, second, at_its_row(hands, order, *both), outcome(order))
        one_way, other_way = after[first, second], after[second, first]
        if not met.is_as(one_way, other_way):
            wrong.append(met.beside(one_way))
    assert wrong == []
    assert [*broken(STOCK, limit=9), *broken(MONEY, limit=9)] == []
    assert list(disputed_by_provider(since=timedelta(days=1))) == []


def at_its_row(hands: tuple[Hand, Hand], order: Order, *verbs: Callable[[], Any]) -> list[Any]:
    """What both answered, when the row was given to them in this order."""
    with transaction.atomic():
        Order.objects.locked(order.pk)
        begun = []
        for hand, verb in zip(hands, verbs, strict=True):
            begun.append(hand.begin(verb))
            hand.wait_until_blocked_or_done()
    return [one.result(timeout=LIMIT_S) for one in begun]


def outcome(order: Order) -> dict[str, Any]:
    """How it stands when all is done that follows, told and untold."""
    work_off_unmailed()
    now = Order.objects.get(pk=order.pk)
    return {
        **{name: value for name, value in now.snapshot().items() if name not in VOLATILE},
        "email": bool(now.email),
        "expires_at": bool(now.expires_at),
        "withdrawal": bool(now.withdrawn_at) and now.withdrawn_by,
        "events": [event.kind for event in timeline(order.pk)],
        "returns": sorted(one.state for one in order.returns.all()),
        "operations": sorted(order.operations.values_list("kind", "state", "amount")),
        "charged": charged(order),
    }


def work_off_unmailed() -> None:
    """Mails change nothing of an order, and each takes as long as a verb."""
    Job.objects.filter(task="notifications.tasks.send_mail").delete()
    while work_off(ahead=timedelta(minutes=5)):
        Job.objects.filter(task="notifications.tasks.send_mail").delete()


def charged(order: Order) -> int:
    """What the provider has of its money."""
    taken = SandboxCharge.objects.filter(key__startswith=str(order.pk), status="succeeded")
    given = SandboxRefund.objects.filter(charge__in=taken, status="succeeded")
    return sum(one.amount for one in taken) - sum(one.amount for one in given)
