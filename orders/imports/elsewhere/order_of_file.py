"""An order as a file may have it: a body of POST /v1/orders, or one that was placed elsewhere, and
what has become of it there since.
"""

from collections.abc import Iterator
from datetime import date, datetime
from itertools import accumulate
from typing import Annotated, Any, Self

from django.utils import timezone
from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from uuid_utils.compat import uuid7

from orders.imports.elsewhere import moments
from orders.imports.files.columns import COUNTED
from orders.inputs.order import LINES_MAX, QUANTITY_MAX, LineInput, OrderInput
from orders.inputs.particulars import Email
from orders.inputs.shape import AMOUNT_MAX, EPOCH, Amount, Shape
from orders.reports.days import day_of
from values.apportion import split
from values.identity import Plain
from values.refused import Sentence
from values.texts import Name

NUMBER_MAX_CHARS = 40
REFUNDS_MAX = 100  # of an order
NO_MOMENT = Sentence("must be a moment like 2026-01-31T09:00:00+09:00, or a day like 2026-01-31")
BLANK_IF_PAST = Sentence("must be blank: paid_at says that no card is to be charged")
BLANK_IF_QUIET = Sentence("must be blank: with quiet=true no card is charged; say paid_at")


def _past(value: Any) -> datetime:
    """A text as a moment that is over; one without an offset is in the time zone that whoever reads
    the file has turned on.
    """
    try:
        moment = moments.read(value, timezone.get_current_timezone())
    except (TypeError, ValueError, OverflowError):
        raise PydanticCustomError("moment", "{sentence}", {"sentence": NO_MOMENT}) from None
    if not EPOCH <= moment <= timezone.now():
        raise PydanticCustomError("moment", "must lie between the year 2000 and now")
    return moment


Past = Annotated[datetime, BeforeValidator(_past)]
Units = Annotated[int, Field(ge=0, le=QUANTITY_MAX)]


class LineOfFile(LineInput):
    """A line of an order, and what has become of its units and its money."""

    fulfilled: Units | None = None
    withdrawn: Units | None = None
    returned: Units = 0
    units_refunded: Units | None = None
    refunded: Amount | None = None

    def assume(self, *, sent: bool, cancelled: bool, refunded: int | None) -> None:
        """Fill in the counts that the file leaves out, alike for all units of the line. `sent`,
        `cancelled`: the order was; `refunded`: the share of the line in what went back.
        """
        if self.withdrawn is None:
            self.withdrawn = self.quantity - (self.fulfilled or 0) if cancelled else 0
        if self.fulfilled is None:
            self.fulfilled = self.quantity - self.withdrawn if sent and not cancelled else 0
        if self.refunded is None:
            self.refunded = refunded or 0
        if self.units_refunded is None:
            self.units_refunded = self.quantity if 0 < self.refunded == self.amount else 0

    def so_far(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in COUNTED}

    @property
    def open(self) -> int:
        return self.quantity - (self.fulfilled or 0) - (self.withdrawn or 0)

    def objections(self) -> Iterator[tuple[str, str]]:
        """Pairs of field and message, for whatever does not go together."""
        if self.open < 0:
            yield "fulfilled", Sentence("and withdrawn come to more than the quantity")
        if self.returned > (self.fulfilled or 0):
            yield "returned", Sentence("is more than what was fulfilled")
        if (self.units_refunded or 0) > self.quantity:
            yield "units_refunded", Sentence("is more than the quantity")
        if (self.refunded or 0) > self.amount:
            text = "is more than the line comes to, %(amount)s"
            yield "refunded", Sentence(text, amount=self.amount)


class GivenBack(Shape):
    """Money that went back, or, below zero, came back because it could not be given."""

    amount: Annotated[int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
    at: Past


class History(BaseModel):
    """What became of an order elsewhere, and when."""

    paid_at: Past | None = None
    fulfilled_at: Past | None = None  # when the last of what was sent was sent
    cancelled_at: Past | None = None  # wholly, or what was not sent of it
    reason: Annotated[Name, Field(min_length=1)] = "requested"
    refunds: Annotated[list[GivenBack], Field(max_length=REFUNDS_MAX)] = []

    @property
    def is_past(self) -> bool:
        """The order is paid for, or will never be."""
        return bool(self.paid_at or self.cancelled_at)

    def days(self) -> set[date]:
        """The days of the shop on which its money moved."""
        moments = [self.paid_at, *(refund.at for refund in self.refunds)]
        return {day_of(moment) for moment in moments if moment}

    @property
    def given_back(self) -> int:
        return sum(refund.amount for refund in self.refunds)


Lines = Annotated[list[LineOfFile], Field(min_length=1, max_length=LINES_MAX)]


class OrderOfFile(OrderInput, History):
    """An order as an import reads it: a new one, or one with its history."""

    email: Email = ""  # of one that is past, it may be forgotten
    lines: Lines  # type: ignore[assignment]
    number: Annotated[str, Field(min_length=1, max_length=NUMBER_MAX_CHARS), Plain()] | None = None
    placed_at: Past | None = None
    shipping_refunded: Amount | None = None

    @property
    def began_at(self) -> datetime | None:
        """When it was placed; None for now."""
        given = [moment for moment in (self.paid_at, self.cancelled_at) if moment]
        return self.placed_at or min(given, default=None)

    @property
    def is_over(self) -> bool:
        """Nothing of it is left to be done here."""
        return bool(self.cancelled_at) or (self.is_past and not self.has_open_units)

    @property
    def has_open_units(self) -> bool:
        """Some of its units are neither sent nor withdrawn."""
        return any(line.open for line in self.lines)

    @property
    def was_unmet(self) -> bool:
        """Its customer never had it, elsewhere: it is no reason to import that order again."""
        return bool(self.cancelled_at) and not self.paid_at

    def so_far(self) -> dict[str, Any]:
        sent = sum(line.fulfilled or 0 for line in self.lines)
        columns = {
            "number": self.number or "",
            "units": sum(line.quantity - (line.withdrawn or 0) for line in self.lines),
            "units_fulfilled": sent,
            "shipping_refunded": self.shipping_refunded or 0,
        }
        began_at = self.began_at
        if began_at is None:
            return columns
        # its id is a place in time, as others' are
        id_ = uuid7(nanoseconds=int(began_at.timestamp() * 10**9))
        return columns | {"created_at": began_at, "id": id_}

    @model_validator(mode="before")
    @classmethod
    def _paid_elsewhere(cls, body: Any) -> Any:
        """An order that is past needs no payment."""
        if isinstance(body, dict) and {"paid_at", "cancelled_at"} & body.keys():
            return {"payment": {"method": "manual"}, **body}
        return body

    @model_validator(mode="after")
    def _assume(self) -> Self:
        """Fill in what the file leaves out: money that went back is divided as a refund is."""
        shares: list[int | None] = [None] * (len(self.lines) + 1)  # the last is the shipping's
        given = [*(line.refunded for line in self.lines), self.shipping_refunded]
        if given == shares and 0 < self.given_back <= self.total:
            weights = [line.amount for line in self.lines]
            shares = [*split(self.given_back, [*weights, self.total - sum(weights)])]
            self.shipping_refunded = shares[-1]
        for line, share in zip(self.lines, shares, strict=False):
            line.assume(
                sent=bool(self.fulfilled_at), cancelled=bool(self.cancelled_at), refunded=share
            )
        return self

    def objections(self, *, quiet: bool) -> Iterator[tuple[str, str]]:
        """Pairs of JSON pointer and message for whatever does not go together. `quiet`: the import
        mails no customer.
        """
        if self.is_past and self.payment.token:
            yield "/payment/token", BLANK_IF_PAST
        elif quiet and self.payment.token:
            yield "/payment/token", BLANK_IF_QUIET
        if not (self.email or self.is_past):
            yield "/email", Sentence("is missing")
        yield from self._out_of_order()
        yield from self._out_of_balance()
        for position, line in enumerate(self.lines):
            for field, message in line.objections():
                yield f"/lines/{position}/{field}", message

    def _out_of_order(self) -> Iterator[tuple[str, str]]:
        for name in ("paid_at", "cancelled_at"):
            moment = getattr(self, name)
            if self.placed_at and moment and moment < self.placed_at:
                yield f"/{name}", Sentence("is before placed_at")
        if self.fulfilled_at and not (self.paid_at and self.paid_at <= self.fulfilled_at):
            yield "/fulfilled_at", Sentence("needs a paid_at that is not after it")
        sent = any(line.fulfilled for line in self.lines)
        if sent != bool(self.fulfilled_at):
            yield "/fulfilled_at", Sentence("goes with units that were fulfilled")
        if self.cancelled_at and self.paid_at and self.has_open_units:
            yield "/cancelled_at", Sentence("leaves units that are neither fulfilled nor withdrawn")
        if self.paid_at and not (sent or self.cancelled_at or self.has_open_units):
            yield "/cancelled_at", Sentence("is missing, since all of its units are withdrawn")
        if "reason" in self.model_fields_set and not self.cancelled_at:
            yield "/reason", Sentence("goes with cancelled_at")

    def _out_of_balance(self) -> Iterator[tuple[str, str]]:
        if any(not self.paid_at or refund.at < self.paid_at for refund in self.refunds):
            yield "/refunds", Sentence("need a paid_at that is not after them")
        if (self.shipping_refunded or 0) > self.shipping.amount + self.shipping.tax:
            yield "/shipping_refunded", Sentence("is more than the shipping")
        sums = accumulate(refund.amount for refund in self.refunds)
        parts = (self.shipping_refunded or 0) + sum(line.refunded or 0 for line in self.lines)
        if any(not 0 <= amount <= self.total for amount in sums):
            text = "come to less than 0, or to more than the total, %(total)s"
            yield "/refunds", Sentence(text, total=self.total)
        elif parts != self.given_back:
            text = "come to %(back)s, but lines and shipping were refunded %(parts)s"
            yield "/refunds", Sentence(text, back=self.given_back, parts=parts)
