"""What is answered about imports."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field

from api.shapes.responses.answer import Exactly
from orders.imports import models, trial
from orders.imports.inputs import Fault


class ImportLinks(Exactly):
    self: str
    errors: str


class Became(Exactly):
    confirmed: Annotated[int, Field(description="paid for; sent, perhaps, and refunded")]
    under_way: Annotated[int, Field(description="not decided yet")]
    held: Annotated[int, Field(description="wait for a person")]
    cancelled: Annotated[int, Field(description="by a person")]
    sold_out: int
    declined: Annotated[int, Field(description="the payment was")]
    expired: Annotated[int, Field(description="nobody paid in time")]
    refused: Annotated[int, Field(description="never an order")]


class Import(Exactly):
    id: UUID
    state: Literal["running", "done"]
    total: Annotated[int, Field(description="orders in the file")]
    ok: Annotated[
        int, Field(description="orders that are there, or on their way, as things are now")
    ]
    failed: Annotated[
        int, Field(description="orders that were refused, sold out, declined or never paid")
    ]
    became: Annotated[Became, Field(description="what became so far of those worked off")]
    percent: Annotated[int, Field(description="of the orders that are worked off")]
    links: ImportLinks

    @classmethod
    def of(cls, batch: models.Import) -> Self:
        """`total`, `ok`, `failed` and what `became` of them count orders."""
        path = f"/v1/imports/{batch.pk}"
        links = {"self": path, "errors": f"{path}/errors.csv"}
        return cls.from_row(batch, **batch.counts(), links=links)


class TrialFault(Exactly):
    line: int
    external_id: str
    field: Annotated[str, Field(description="a column, or a JSON pointer; empty for all of it")]
    reason: str

    @classmethod
    def of(cls, external_id: str, fault: Fault) -> Self:
        return cls.from_row(fault, line=fault.line_number, external_id=external_id)


class Trial(Exactly):
    dry_run: Literal[True]
    total: Annotated[int, Field(description="orders in the file")]
    ok: Annotated[int, Field(description="orders that an import would accept")]
    failed: int
    errors: list[TrialFault]
    errors_left_out: Annotated[int, Field(description="further ones; the first are enough to mend")]

    @classmethod
    def of(cls, tried: trial.Trial) -> Self:
        errors = [TrialFault.of(name, fault) for name, fault in tried.faults]
        return cls.from_row(
            tried, dry_run=True, errors=errors, errors_left_out=tried.faults_left_out
        )
