"""What is answered about jobs."""

import json
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from kombu.utils.json import dumps
from pydantic import ConfigDict, WithJsonSchema

import celery_ledger
from api.shapes.responses.answer import Exactly, Page
from celery_ledger import State, owned

# Described on the spot: another room has a State too, and a description knows a name once.
JobState = Annotated[State, WithJsonSchema({"type": "string", "enum": State.values})]


class Job(Exactly):
    model_config = ConfigDict(  # the document's sentence, as it was
        json_schema_extra={"description": "A job, for the API's description; `shown` fills it."}
    )
    id: UUID
    task: str
    queue: str
    state: JobState
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    result: Any
    error: dict[str, str] | None

    @classmethod
    def of(cls, job: celery_ledger.Job) -> Self:
        """Its arguments stay inside, and of the shop's own job also what it came to."""
        if owned.is_nobodys(job):
            return cls.from_row(job, result=None, error=None)
        error = {part: job.error[part] for part in ("type", "message")} if job.error else None
        return cls.from_row(job, result=json.loads(dumps(job.result)), error=error)


class JobPage(Page[Job]):
    next: str | None  # the document has no description of it
