"""Celery's JSON in a Postgres column: what a broker message could carry, a row can carry."""

import json

from kombu.utils import json as celery_json


class CeleryEncoder(celery_json.JSONEncoder):
    """Writes dates, UUIDs and decimals with Celery's marks."""


class CeleryDecoder(json.JSONDecoder):
    """Reads them back."""

    def __init__(self) -> None:
        super().__init__(object_hook=celery_json.object_hook)
