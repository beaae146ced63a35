"""Celery's JSON in a Postgres column: what a broker message could carry, a row can carry."""

import json
from functools import partial
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from kombu.utils import json as celery_json
from psycopg.types.json import Json


class CeleryEncoder(celery_json.JSONEncoder):
    """Writes dates, UUIDs and decimals with Celery's marks."""


class CeleryDecoder(json.JSONDecoder):
    """Reads them back."""

    def __init__(self) -> None:
        super().__init__(object_hook=celery_json.object_hook)


class WrittenJSONField(models.JSONField):
    """JSON that comes back as it went: with its keys in their order, 1e22 a float, and -0.0.

    Postgres' `json` keeps the text; `jsonb` would keep what it means. So Postgres neither compares
    nor indexes it.
    """

    def __init__(self, **options: Any) -> None:
        own = {"encoder": CeleryEncoder, "decoder": CeleryDecoder}
        super().__init__(**{**own, **options})

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "json"

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        if value is None or hasattr(value, "as_sql"):
            return super().get_db_prep_value(value, connection, prepared)
        return Json(value, dumps=partial(json.dumps, cls=self.encoder))

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        return f"{sql}::text", params
