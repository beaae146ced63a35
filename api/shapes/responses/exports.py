"""What is answered about exports."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field

from api.shapes.responses.answer import Exactly
from orders.exports import models


class ExportLinks(Exactly):
    self: str
    files: Annotated[list[str], Field(description="once it is done; in this order")]


class Export(Exactly):
    id: UUID
    state: Literal["running", "done", "failed"]
    format: Literal["csv", "ndjson"]
    orders: Annotated[int, Field(description="that are written so far")]
    next: Annotated[
        str | None,
        Field(description="`after` of a following export, if there are more orders than one holds"),
    ]
    created_at: datetime
    finished_at: datetime | None
    forgotten_at: Annotated[datetime, Field(description="when its files are deleted")]
    links: ExportLinks

    @classmethod
    def of(cls, export: models.Export) -> Self:
        path = f"/v1/exports/{export.pk}"
        is_done = export.state == "done"
        parts = export.parts.order_by("number") if is_done else export.parts.none()
        files = [f"{path}/files/{number}" for number in parts.values_list("number", flat=True)]
        return cls.from_row(
            export,
            format=export.form,
            next=str(export.place) if is_done and export.goes_on else None,
            links={"self": path, "files": files},
        )
