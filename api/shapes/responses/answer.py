"""What the answers are made of. A row's attributes are read by the names of fields, which no type
checker sees: tests/api/description/test_answers.py holds each answer in each state.
"""

from collections.abc import Callable
from typing import Annotated, Any, Self

from django.db.models import Model, QuerySet
from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """The body of an answer, or a part of one."""

    @classmethod
    def from_row(cls, row: Any, **others: Any) -> Self:
        """Each field is the row's attribute of that name, but for the others, which are given."""
        own = {name: getattr(row, name) for name in cls.model_fields if name not in others}
        return cls(**own, **others)


class Exactly(Answer):
    """One that has these members and no other."""

    model_config = ConfigDict(extra="forbid")


class Page[Item](Exactly):
    """A part of a list."""

    data: list[Item]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]

    @classmethod
    def of[Row: Model](
        cls,
        rows: QuerySet[Row] | list[Row],
        show: Callable[[Row], Item],
        *,
        limit: int,
        cursor: Callable[[Row], str],
    ) -> Self:
        """The first of these ordered rows, in one query of one row more than it shows."""
        found = list(rows[: limit + 1])
        following = cursor(found[limit - 1]) if len(found) > limit else None
        items = [show(row) for row in found[:limit]]
        return cls.model_construct(data=items, next=following)  # `show` has made them of the shape
