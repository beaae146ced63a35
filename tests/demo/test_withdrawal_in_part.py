"""A customer withdraws from a part of an order on its page, and from the rest of it later: each
unit once.
"""

import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from notifications.events import timeline
from orders.models import Asked, Fulfilment, Order, Refund, Return
from orders.tasks import give_back
from tests.demo.pages import Placed, status_page, text
from tests.demo.withdrawing import (
    BUTTON,
    ENGLISH,
    Bought,
    chosen,
    kinds,
    mails,
    now,
    page_of,
    receipt,
    units,
    withdrawn,
)
from tests.postgres.hands import in_threads

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("within_two_weeks")]
TUNA = {"MAGURO-NIGIRI": 1}
ROUNDS = 4
SALMON = {"position": 0, "sku": "SAKE-NIGIRI"}


def takes_off(order: Order, number: int) -> None:
    """The shop will not send so many salmon nigiri."""
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        asked = Asked(units=[(locked.own_lines[0], number)], restock=True)
        give_back(Refund.objects.promise(locked, asked, reason="staff"))


# --- the statement --------------------------------------------------------------------------------


def test_the_statement_offers_what_is_left_of_each_line_and_has_chosen_all_of_it(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=1, **TUNA)
    takes_off(order, 1)
    statement = visitor.get(page_of(order)).content.decode()
    offered = r'<label for="id_(\w+)">([^<]+):</label><input type="number" name="\1" value="(\d)"'
    assert re.findall(offered, statement) == [
        ("line_0", "Salmon nigiri (≤ 1)", "1"),
        ("line_1", "Tuna nigiri (≤ 1)", "1"),
    ]
    assert statement.count('min="0" max="1"') == 2
    assert "what you leave out stays ordered" in statement


def test_all_of_it_chosen_is_a_withdrawal_from_the_whole(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought()
    answer = withdrawn(visitor, order, **chosen(visitor, order, 2))
    assert answer.status_code == 303
    assert (now(order).state, now(order).reason, now(order).refunded) == (
        ("cancelled", "withdrawn", 600)
    )
    assert kinds(order)[3:] == ["cancelled", "withdrawn", "refunded"]


@pytest.mark.parametrize("method", ["cod", "manual"])
def test_as_long_as_it_is_not_paid_only_the_whole_is_offered(
    visitor: HttpClient, placed: Placed, method: str
) -> None:
    order = placed()
    Order.objects.update(payment_method=method)
    work_off()
    statement = visitor.get(page_of(order))
    assert "you can only withdraw from all of it" in text(statement)
    assert 'type="number"' not in statement.content.decode()
    for seen in ("", "0:2"):
        answer = withdrawn(visitor, order, line_0="1", seen=seen)
        assert (answer.status_code, now(order).withdrawn_at) == (409, None)
    assert withdrawn(visitor, order).status_code == 303
    assert (now(order).state, units(order)) == ("cancelled", (0, 2, 0))


@pytest.mark.parametrize("number", ["x", "-1", "3", "", "1.5", "1\x00", "9" * 5000])
def test_a_number_that_cannot_be_is_refused_at_its_field(
    visitor: HttpClient, bought: Bought, number: str
) -> None:
    order = bought()
    answer = withdrawn(visitor, order, **chosen(visitor, order, number), name="Hana")
    assert (answer.status_code, now(order).withdrawn_at) == (422, None)
    assert "Enter a whole number from 0 to 2." in text(answer)
    page = answer.content.decode()
    assert re.search(r'name="line_0"[^>]* aria-invalid="true"', page)
    assert 'name="seen" value="0:2"' in page
    assert 'value="Hana"' in page


def test_nothing_chosen_is_refused(visitor: HttpClient, bought: Bought) -> None:
    order = bought(**TUNA)
    answer = withdrawn(visitor, order, **chosen(visitor, order, 0, 0))
    assert (answer.status_code, now(order).withdrawn_at) == (422, None)
    assert "Choose at least one piece." in text(answer)


def test_what_is_wrong_is_said_in_japanese(visitor: HttpClient, bought: Bought) -> None:
    order = bought(**TUNA)
    Order.objects.update(locale="ja")
    empty = text(withdrawn(visitor, order, **chosen(visitor, order, 0, 0)))
    wrong = text(withdrawn(visitor, order, **chosen(visitor, order, 3, 1)))
    late = text(withdrawn(visitor, order, line_0="1", seen=""))
    assert "1点以上お選びください。" in empty
    assert "0から2までの整数を入力してください。" in wrong
    assert "今回の撤回は承っておりません" in late
    for page in (empty, wrong, late):
        assert "撤回する数量をお選びください" in page
        assert not ENGLISH.search(page.replace("Tuna nigiri", ""))
    withdrawn(visitor, order, **chosen(visitor, order, 1, 0))
    assert "Salmon nigiri × 1 の撤回を承りました" in text(status_page(visitor, order))


# --- what it sets going ---------------------------------------------------------------------------


def test_of_what_was_not_sent_a_part_is_paid_back_and_the_order_goes_on(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(**TUNA)
    assert withdrawn(visitor, order, **chosen(visitor, order, 1, 0)).status_code == 303
    order = now(order)
    assert (order.state, order.reason, order.refunded) == ("confirmed", "", 300)
    assert (units(order), Return.objects.count()) == ((0, 1, 0), 0)
    assert kinds(order)[3:] == ["refund_pending", "withdrawn", "refunded"]
    assert mails(order) == ["withdrawn", "refunded"]
    page = text(status_page(visitor, order))
    assert "You have withdrawn from Salmon nigiri × 1. Received on" in page
    assert "You have withdrawn from the contract" not in page
    assert BUTTON in page


@pytest.mark.parametrize(
    ("number", "then"), [(1, (2, 1, 0)), (2, (2, 1, 1)), (3, (2, 1, 2))], ids=str
)
def test_of_a_line_the_unsent_units_come_first(
    visitor: HttpClient, bought: Bought, number: int, then: tuple[int, int, int]
) -> None:
    order = bought(sent=2, **{"SAKE-NIGIRI": 3})
    withdrawn(visitor, order, **chosen(visitor, order, number))
    assert units(order) == then
    assert (now(order).state, now(order).reason) == ("completed", "withdrawn")
    assert now(order).refunded == 300
    assert [come.reason for come in Return.objects.all()] == ["withdrawn"] * (number > 1)
    assert mails(order) == ["withdrawn", "refunded"]
    headline = "Delivered in part" if number < 3 else "You have withdrawn from the contract"
    assert headline in text(status_page(visitor, order))


def test_of_another_line_the_sent_one_is_announced(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=2, **TUNA)
    withdrawn(visitor, order, **chosen(visitor, order, 1, 0))
    [come] = Return.objects.all()
    assert (come.reason, [part["quantity"] for part in come.lines]) == ("withdrawn", [1])
    assert (now(order).state, now(order).refunded, units(order)) == ("confirmed", 0, (2, 0, 1))
    assert kinds(order)[4:] == ["return_announced", "withdrawn"]
    assert mails(order) == ["withdrawn"]


def test_the_shipping_goes_back_with_the_last_of_it(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    Order.objects.update(shipping_amount=200, total=F("total") + 200)
    work_off()
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    assert (now(order).state, now(order).refunded) == ("confirmed", 300)
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    assert (now(order).state, now(order).reason, now(order).refunded) == (
        ("cancelled", "withdrawn", 800)
    )
    assert kinds(order).count("withdrawn") == 2
    assert visitor.get(page_of(order)).status_code == 303
    assert "You have withdrawn from the contract" in text(status_page(visitor, order))


def test_each_withdrawal_is_shown_to_the_shop(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1, **{"SAKE-NIGIRI": 3})
    withdrawn(visitor, order, **chosen(visitor, order, 1), name="Hana")
    withdrawn(visitor, order)
    events = timeline(order.pk).filter(kind="order.withdrawn").order_by("seq")
    withdrawals = [event.data["order"]["withdrawal"] for event in events]
    assert [(each["name"], each["lines"]) for each in withdrawals] == [
        ("Hana", [SALMON | {"quantity": 1}]),
        (None, [SALMON | {"quantity": 2}]),
    ]
    assert now(order).snapshot()["withdrawal"] == withdrawals[1]
    Order.objects.update(withdrawn_lines=None)  # as one of a release before
    before = now(order).snapshot()["withdrawal"]
    assert before is not None
    assert before["lines"] is None
    assert "You have withdrawn from the contract" in text(status_page(visitor, order))


def test_what_the_shop_does_to_the_rest_is_mailed(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1, **{"SAKE-NIGIRI": 3})
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        Return.objects.announce(locked, reason="broken")
        give_back(locked.cancel("requested"))
    work_off()
    assert mails(order)[2:4] == ["return_announced", "completed"]


def test_an_order_whose_rest_the_shop_has_cancelled_was_not_withdrawn_from_wholly(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought()
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    with transaction.atomic():
        give_back(Order.objects.locked(order.pk).cancel("requested"))
    work_off()
    page = text(status_page(visitor, order))
    assert "This order was cancelled. What you paid, ¥600, is paid back." in page
    assert "You have withdrawn from Salmon nigiri × 1." in page
    assert mails(order) == ["withdrawn", "refunded", "cancelled", "refunded"]


def test_goods_whose_return_the_shop_has_called_off_may_be_withdrawn_from_again(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=2)
    withdrawn(visitor, order, **chosen(visitor, order, 2))
    assert BUTTON not in text(status_page(visitor, order))
    with transaction.atomic():
        come = Return.objects.get()
        come.order = Order.objects.locked(order.pk)
        come.cancel()
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    assert units(order) == (2, 0, 1)


def test_beyond_the_returns_of_an_order_the_page_leads_to_the_shop(
    visitor: HttpClient, bought: Bought, settings: Any
) -> None:
    settings.RETURNS_PER_ORDER = 1
    order = bought(sent=2)
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    answer = withdrawn(visitor, order, **chosen(visitor, order, 1))
    assert answer.status_code == 409
    assert "This cannot be done on this page. Please write to us." in text(answer)
    assert units(order) == (2, 0, 1)
    assert kinds(order).count("withdrawn") == 1


# --- each unit once -------------------------------------------------------------------------------


def test_clicking_twice_withdraws_from_a_part_once(visitor: HttpClient, bought: Bought) -> None:
    order = bought(**{"SAKE-NIGIRI": 3}, **TUNA)
    form = chosen(visitor, order, 1, 0)
    answers = [withdrawn(visitor, order, **form, name=name) for name in ("Hana", "Jiro")]
    assert [answer["Location"] for answer in answers] == [f"/o/{order.public_token}/"] * 2
    assert (units(order), now(order).withdrawn_by) == ((0, 1, 0), "Hana")
    again = withdrawn(visitor, order, **chosen(visitor, order, 1, 0))
    assert (again.status_code, units(order)) == (303, (0, 2, 0))


def test_who_was_overtaken_reads_how_it_stands_and_chooses_again(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(**{"SAKE-NIGIRI": 3})
    form = chosen(visitor, order, 2)
    takes_off(order, 1)
    answer = withdrawn(visitor, order, **form)
    assert (answer.status_code, now(order).withdrawn_at) == (409, None)
    assert "Meanwhile the order has changed, and nothing was withdrawn from." in text(answer)
    assert "Salmon nigiri (≤ 2):" in text(answer)
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    late = withdrawn(visitor, order, **form)
    assert (late.status_code, units(order)) == (409, (0, 2, 0))


def test_a_parcel_that_leaves_meanwhile_is_in_nobodys_way(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought()
    form = chosen(visitor, order, 1)
    with transaction.atomic():
        Fulfilment.objects.ship(Order.objects.locked(order.pk))
    assert withdrawn(visitor, order, **form).status_code == 303
    assert units(order) == (2, 0, 1)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each comes to, of hands that begin in one moment."""
    together = threading.Barrier(len(acts))

    def act(one: Callable[[], Any]) -> Any:
        together.wait(timeout=10)
        return one()

    return in_threads(act, list(acts), hands=len(acts))


def clicking(order: Order, form: dict[str, str]) -> Callable[[], int]:
    return lambda: HttpClient().post(page_of(order), form).status_code


def test_eight_clicks_in_one_moment_withdraw_from_a_part_once(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=1, **{"SAKE-NIGIRI": 4})
    form = chosen(visitor, order, 1)
    assert at_once(*[clicking(order, form)] * 8) == [303] * 8
    work_off()
    assert (units(order), now(order).refunded) == ((1, 1, 0), 300)
    assert kinds(order).count("withdrawn") == 1


def test_of_two_who_choose_otherwise_in_one_moment_one_is_overtaken(
    visitor: HttpClient, bought: Bought
) -> None:
    for _ in range(ROUNDS):
        order = bought(sent=1, **{"SAKE-NIGIRI": 4})
        forms = {number: chosen(visitor, order, number) for number in (1, 2)}
        answers = at_once(*(clicking(order, form) for form in forms.values()))
        work_off()
        assert sorted(answers) == [303, 409]
        first = 1 + answers.index(303)
        assert (units(order), now(order).refunded) == ((1, first, 0), 300 * first)
        assert kinds(order).count("withdrawn") == 1


def test_a_unit_is_sent_or_withdrawn_from_in_one_moment_and_never_both(
    visitor: HttpClient, bought: Bought
) -> None:
    def send(order: Order) -> None:
        with transaction.atomic():
            Fulfilment.objects.ship(Order.objects.locked(order.pk))

    for _ in range(ROUNDS):
        order = bought()
        form = chosen(visitor, order, 1)
        status, _none = at_once(clicking(order, form), partial(send, order))
        work_off()
        sent, unsent, announced = units(order)
        assert (status, now(order).state) == (303, "completed")
        assert (sent, unsent, announced) in ((1, 1, 0), (2, 0, 1))
        assert now(order).refunded == 300 * unsent


# --- the receipt ----------------------------------------------------------------------------------


def test_the_receipt_names_the_units(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=2, **{"SAKE-NIGIRI": 3}, **TUNA)
    withdrawn(visitor, order, **chosen(visitor, order, 2, 0), name="Hana")
    subject, body = receipt(order)
    assert subject == f"We have your withdrawal from order {order.number}"
    assert f"I hereby withdraw from this part of the contract of order {order.number} of " in body
    declared, sent_back = body.split("Please send this back to us.")
    assert "  Salmon nigiri × 2\n" in declared
    assert "  Salmon nigiri × 1\n" in sent_back
    assert "Tuna" not in body
    assert "Of the ¥1,280 that you paid, ¥300 goes back to you." in body


def test_the_receipt_of_a_part_in_japanese(visitor: HttpClient, bought: Bought) -> None:
    order = bought()
    Order.objects.update(locale="ja")
    withdrawn(visitor, order, **chosen(visitor, order, 1))
    body = receipt(order)[1]
    assert f"の注文 {order.number} の契約のうち、次の部分を撤回します。" in body
    assert "  Salmon nigiri × 1\n" in body
    assert not ENGLISH.search(body)


def test_the_receipt_of_a_withdrawal_from_before_names_all_of_it(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought()
    withdrawn(visitor, order)
    event = timeline(order.pk).get(kind="order.withdrawn")
    del event.data["order"]["withdrawal"]["lines"]
    event.save()
    body = receipt(order)[1]
    assert f"I hereby withdraw from the contract of order {order.number} of " in body
    assert "  Salmon nigiri × 2\n" in body
