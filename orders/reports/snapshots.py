"""What the outside is shown of a day and of a month: JSON, and nothing else."""

from typing import Annotated, TypedDict

from pydantic import Field

from orders.snapshots import Moment, Money, exactly


@exactly
class Moved(TypedDict):
    orders: int
    gross: Money
    refunds: Money
    net: Money


@exactly
class Hour(Moved):
    hour: Annotated[Moment, Field(description="when it begins, in the shop's time zone")]


@exactly
class Sold(TypedDict):
    sku: str
    name: str
    quantity: int
    amount: Money


@exactly
class CurrencyFigures(Moved):
    currency: str
    by_hour: list[Hour]
    top_skus: list[Sold]


@exactly
class DayFigures(Moved):
    date: Annotated[str, Field(examples=["2026-11-24"])]


@exactly
class MonthFigures(Moved):
    currency: str
    by_day: list[DayFigures]


@exactly
class MonthlyReport(TypedDict):
    month: Annotated[str, Field(examples=["2026-11"])]
    time_zone: str
    final: Annotated[bool, Field(description="false while the month may still change")]
    as_of: Moment
    currencies: list[MonthFigures]


@exactly
class Report(TypedDict):
    date: Annotated[str, Field(examples=["2026-11-24"])]
    time_zone: str
    final: Annotated[bool, Field(description="false while the day may still change")]
    as_of: Moment
    currencies: list[CurrencyFigures]
