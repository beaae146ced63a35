"""Compares the books after everything has come to rest."""

from typing import Any

from django.db import connection

from tests.promises.chaos.proof.audits import AUDITS
from tests.promises.chaos.proof.evidence import Evidence, loaded

SHOWN = 5  # rows of each violation


def violations(evidence: Evidence) -> dict[str, list[Any]]:
    """The rows that break an invariant, by its name; empty when all is well."""
    found = {}
    with loaded(evidence), connection.cursor() as cursor:
        for name, sql in AUDITS.items():
            cursor.execute(sql)
            if rows := cursor.fetchmany(SHOWN):
                found[name] = rows
    return found
