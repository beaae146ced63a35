"""Stock under several hands at once: rows settle who was first."""

from typing import Any

import pytest

from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from notifications.models import Event
from orders.inputs.stock import StockSetting
from orders.models import Order, Stock
from tests.orders.books import books_balance
from tests.postgres.hands import Hand, in_threads
from tests.shop import Api
from values.refused import Refused

pytestmark = pytest.mark.django_db(transaction=True)


def placed(api: Api, order_body: Any, sku: str, number: int, quantity: int = 1) -> None:
    lines = [{"sku": sku, "quantity": quantity, "unit_price": 100}]
    body = order_body(external_id=f"o-{number}", lines=lines, total=100 * quantity)
    assert api.place(body, key=f"o-{number}").status_code == 202


def reservations() -> list[Job]:
    return list(Job.objects.filter(task="orders.tasks.reserve", state="waiting"))


def test_eight_hands_sell_what_is_there_and_what_may_be_owed_and_tell_once(
    api: Api, order_body: Any
) -> None:
    Stock.objects.describe({"A": StockSetting(on_hand=3, backorder_limit=2, low_at=1)})
    for number in range(8):
        placed(api, order_body, "A", number)
    in_threads(attempt, reservations())
    work_off()
    row = Stock.objects.get()
    assert (row.reserved, row.available) == (5, 0)
    assert Order.objects.filter(reason="out_of_stock").count() == 3
    assert Event.objects.filter(kind="stock.low").count() == 1
    assert books_balance()


@pytest.mark.parametrize("first", ["remove", "reserve"])
def test_a_sku_is_removed_or_reserved_and_never_both(api: Api, order_body: Any, first: str) -> None:
    Stock.objects.describe({"A": StockSetting(on_hand=5)})
    placed(api, order_body, "A", 1)
    order = Order.objects.get()

    def remove() -> bool | str:
        try:
            return Stock.objects.remove("A")
        except Refused as exc:
            return exc.slug

    steps = {"remove": remove, "reserve": lambda: Stock.objects.reserve(order)}
    [second] = steps.keys() - {first}
    with Hand() as early, Hand() as late:
        for hand in (early, late):
            hand.open_transaction()
        assert early.do(steps[first]) is True
        waits = late.begin(steps[second])
        late.wait_until_blocked()
        early.commit()
        assert waits.result(timeout=10) == ("stock-reserved" if first == "reserve" else False)
        late.commit()
    row = Stock.objects.get()
    assert (row.reserved, row.removed_at is None) == (
        (1, True) if first == "reserve" else (0, False)
    )
    assert books_balance()


def test_two_who_saw_the_same_count_do_not_both_set_it(api: Api) -> None:
    Stock.objects.describe({"A": StockSetting(on_hand=0)})

    def count(on_hand: int) -> int:
        body = {"on_hand": on_hand, "expected": on_hand - 1}
        return int(api.put("/v1/stock/A", body, content_type="application/json").status_code)

    for on_hand in range(1, 6):
        assert sorted(in_threads(count, [on_hand] * 4)) == [200, 412, 412, 412]
    assert (Stock.objects.get().on_hand, books_balance()) == (5, True)


@pytest.mark.parametrize("are_there", [True, False])
def test_files_in_opposite_orders_do_not_block_each_other(are_there: bool) -> None:
    """Whoever comes second waits for the first sku, whatever the order of its file, and holds no
    other meanwhile.
    """

    def send(*skus: str) -> int:
        return len(Stock.objects.describe({sku: StockSetting(on_hand=1) for sku in skus}))

    if are_there:
        Stock.objects.describe({sku: StockSetting(on_hand=5) for sku in ("A", "B")})
    with Hand() as early, Hand() as late:
        for hand in (early, late):
            hand.open_transaction()
        early.do(lambda: send("A"))
        waits = late.begin(lambda: send("B", "A"))
        late.wait_until_blocked()
        assert early.do(lambda: send("B")) == 1
        early.commit()
        assert waits.result(timeout=10) == 2
        late.commit()
    assert set(Stock.objects.values_list("sku", "on_hand")) == {("A", 1), ("B", 1)}
    assert books_balance()
