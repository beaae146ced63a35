"""What staff do to goods: rehearsed first, so that its page says in figures what it comes to; done
to no other goods than they saw; with a row of who did it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ops.models import StaffAction
from ops.stock.forms import AdjustForm, CountForm, DescribeForm, RemoveForm, StockForm
from orders.inputs.stock import StockSetting
from orders.models import Stock
from values.refused import invalid

Entered = Mapping[str, Any]
SEEN = ("on_hand", "name", "counted", "backorder_limit", "low_at")  # what a verb sets


class Overtaken(Exception):
    """The goods are not any more as the page showed them."""


@dataclass(frozen=True)
class Verb:
    word: Promise
    do: Callable[[str, Entered], Any]  # to the goods of this sku, which are locked
    form: type[StockForm]
    is_dangerous: bool = False


def _count(sku: str, entered: Entered) -> None:
    Stock.objects.describe({sku: StockSetting(on_hand=entered["on_hand"])})


def _adjust(sku: str, entered: Entered) -> None:
    Stock.objects.adjust(sku, entered["delta"], reason=entered["reason"])


def _describe(sku: str, entered: Entered) -> None:
    Stock.objects.describe({sku: StockSetting(**entered)})


VERBS: dict[str, Verb] = {
    "count": Verb(gettext_lazy("Set the count"), _count, CountForm),
    "adjust": Verb(gettext_lazy("Add or remove"), _adjust, AdjustForm),
    "describe": Verb(gettext_lazy("Say how it is sold"), _describe, DescribeForm),
    "take_out": Verb(
        gettext_lazy("Take it out"),
        lambda sku, entered: Stock.objects.remove(sku),
        RemoveForm,
        is_dangerous=True,
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How goods stand and how they would stand, as the API shows them."""

    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Pairs of the old value and the new one, by name."""
        return {
            name: (was, self.after[name])
            for name, was in self.before.items()
            if was != self.after[name]
        }


def seen_of(stock: Stock) -> str:
    """The goods as a form showed them, to be compared with what they are when it is sent. What is
    promised to orders meanwhile is not in it.
    """
    return json.dumps([getattr(stock, name) for name in SEEN])


def subject_of(sku: str) -> str:
    """The subject of StaffActions on goods of this sku."""
    return f"stock {sku}"


def rehearse(sku: str, verb: Verb, entered: Entered) -> Outcome:
    """What the verb would come to now: it is done, looked at and rolled back. Raises Overtaken for
    goods that have been taken out, and Refused.
    """
    with transaction.atomic():
        outcome = _done(Stock.objects.locked(sku), verb, entered)
        transaction.set_rollback(True)
    return outcome


def perform(sku: str, slug: str, entered: Entered, *, seen: str, by: Any) -> None:
    """Do the verb to goods that stand as `seen_of` had them, and write the StaffAction. Raises
    Overtaken when somebody or something was faster, and Refused.
    """
    with transaction.atomic():
        stock = Stock.objects.locked(sku)
        if stock is None or seen_of(stock) != seen:
            raise Overtaken
        outcome = _done(stock, VERBS[slug], entered)
        if outcome.changes or slug == "take_out":
            _note(by, slug, sku, entered, outcome)


def add(entered: Entered, *, by: Any) -> Stock:
    """Goods of a new sku. Raises a 422 problem for one that is there, also for the second of two
    who add it at once.
    """
    sku = entered["sku"]
    with transaction.atomic():
        Stock.objects.know({sku: ""})  # whoever comes meanwhile waits for us here
        there = Stock.objects.locked(sku)
        if there is not None and seen_of(there) != seen_of(Stock()):
            raise invalid(("/sku", "is there already"))
        stock = Stock.objects.set_on_hand(sku, entered["on_hand"], name=entered["name"] or None)
        _note(
            by, "add_stock", sku, entered, Outcome(dict(Stock().snapshot()), dict(stock.snapshot()))
        )
    return stock


def _done(stock: Stock | None, verb: Verb, entered: Entered) -> Outcome:
    if stock is None:
        raise Overtaken
    before = stock.snapshot()
    verb.do(stock.sku, entered)
    stock.refresh_from_db()
    return Outcome(dict(before), dict(stock.snapshot()))


def _note(by: Any, slug: str, sku: str, entered: Entered, outcome: Outcome) -> None:
    seen = {"said": dict(entered), "before": outcome.before, "after": outcome.after}
    StaffAction.note(by, slug, subject_of(sku), **seen)
