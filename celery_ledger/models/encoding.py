"""Celery's JSON in a Postgres column, with dates, UUIDs and decimals as Celery writes them."""

import json
from functools import partial
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from kombu.utils import json as celery_json
from psycopg.types.json import Json


class CeleryEncoder(celery_json.JSONEncoder):
    """Writes dates, UUIDs and decimals as Celery does, as objects with `__type__`."""


class CeleryDecoder(json.JSONDecoder):
    """Reads what `CeleryEncoder` writes."""

    def __init__(self) -> None:
        super().__init__(object_hook=celery_json.object_hook)


class WrittenJSONField(models.JSONField):
    """A column of JSON that comes back as it was written: keys in their order, 1e22 a float, -0.0.

    It is of Postgres' type `json`, which keeps the text; `jsonb` would not. Postgres can neither
    compare nor index a `json` value.
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
