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
from orders.inputs.stock import StockSaid
from orders.models import Stock
from values.refused import invalid

Said = Mapping[str, Any]
SEEN = ("on_hand", "name", "counted", "backorder_limit", "low_at")  # what a verb sets


class Overtaken(Exception):
    """The goods are not any more as the page showed them."""


@dataclass(frozen=True)
class Verb:
    word: Promise
    do: Callable[[str, Said], Any]  # to the goods of this sku, which are locked
    form: type[StockForm]
    is_dangerous: bool = False


def _count(sku: str, said: Said) -> None:
    Stock.objects.describe({sku: StockSaid(on_hand=said["on_hand"])})


def _adjust(sku: str, said: Said) -> None:
    Stock.objects.adjust(sku, said["delta"], reason=said["reason"])


def _describe(sku: str, said: Said) -> None:
    Stock.objects.describe({sku: StockSaid(**said)})


VERBS: dict[str, Verb] = {
    "count": Verb(gettext_lazy("Set the count"), _count, CountForm),
    "adjust": Verb(gettext_lazy("Add or remove"), _adjust, AdjustForm),
    "describe": Verb(gettext_lazy("Say how it is sold"), _describe, DescribeForm),
    "take_out": Verb(
        gettext_lazy("Take it out"),
        lambda sku, said: Stock.objects.remove(sku),
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
        pairs = {name: (value, self.after[name]) for name, value in self.before.items()}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def seen_of(stock: Stock) -> str:
    """What a form was filled in beside; what is promised to orders meanwhile does not count."""
    return json.dumps([getattr(stock, name) for name in SEEN])


def subject_of(sku: str) -> str:
    """Of its StaffActions."""
    return f"stock {sku}"


def rehearse(sku: str, verb: Verb, said: Said) -> Outcome:
    """What it would come to now: it is done, looked at and rolled back. Raises Overtaken for goods
    that have been taken out, and Refused.
    """
    with transaction.atomic():
        outcome = _done(Stock.objects.locked(sku), verb, said)
        transaction.set_rollback(True)
    return outcome


def perform(sku: str, slug: str, said: Said, *, seen: str, by: Any) -> None:
    """Do it to goods that stand as they were seen. Raises Overtaken when somebody or something was
    faster, and Refused.
    """
    with transaction.atomic():
        stock = Stock.objects.locked(sku)
        if stock is None or seen_of(stock) != seen:
            raise Overtaken
        outcome = _done(stock, VERBS[slug], said)
        if outcome.changes or slug == "take_out":
            _note(by, slug, sku, said, outcome)


def add(said: Said, *, by: Any) -> Stock:
    """Goods of a new sku. Of two who add it at once the second is refused, as for one that is
    there.
    """
    sku = said["sku"]
    with transaction.atomic():
        Stock.objects.know({sku: ""})  # whoever comes meanwhile waits for us here
        there = Stock.objects.locked(sku)
        if there is not None and seen_of(there) != seen_of(Stock()):
            raise invalid(("/sku", "is there already"))
        stock = Stock.objects.set_on_hand(sku, said["on_hand"], name=said["name"] or None)
        _note(by, "add_stock", sku, said, Outcome(dict(Stock().snapshot()), dict(stock.snapshot())))
    return stock


def _done(stock: Stock | None, verb: Verb, said: Said) -> Outcome:
    if stock is None:
        raise Overtaken
    before = stock.snapshot()
    verb.do(stock.sku, said)
    stock.refresh_from_db()
    return Outcome(dict(before), dict(stock.snapshot()))


def _note(by: Any, slug: str, sku: str, said: Said, outcome: Outcome) -> None:
    shown = {"said": dict(said), "before": outcome.before, "after": outcome.after}
    StaffAction.note(by, slug, subject_of(sku), **shown)
