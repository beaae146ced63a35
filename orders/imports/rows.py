"""The rows of a file while they wait in Postgres, as yet unjudged. To work one off is to delete it,
in the transaction that places its order or notes its fault: whoever dies, that happens once.
"""

import json
from collections.abc import Iterable
from itertools import batched
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from psycopg.types.json import Jsonb

from orders.imports.files.lines import Row
from values.refused import restored

if TYPE_CHECKING:
    from orders.imports.models import Import

COPY = "COPY orders_importrow (batch_id, at, line, key, said, fault, fault_kept) FROM STDIN"
COUNT = """
SELECT count(*), count(DISTINCT key) + count(*) FILTER (WHERE key IS NULL)
  FROM orders_importrow WHERE batch_id = %s
"""
# Until autovacuum comes by, Postgres takes a new file for a row or two, and reads all of it to find
# the next one. Whoever else is at it is not waited for.
KNOW = "ANALYZE (SKIP_LOCKED) orders_importrow"
# The next rows of a chunk, with those further down in the file that belong to an order which begins
# in them. The arrays lead Postgres to the indexes; with IN it reads all rows that wait, each time.
TAKE = """
WITH next AS (
    SELECT at, key FROM orders_importrow
     WHERE batch_id = %(batch)s AND at >= %(first)s AND at < %(end)s
     ORDER BY at LIMIT %(limit)s
)
DELETE FROM orders_importrow
 WHERE batch_id = %(batch)s
   AND (at = ANY(ARRAY(SELECT at FROM next)) OR key = ANY(ARRAY(SELECT key FROM next)))
RETURNING at, line, key, said, fault, fault_kept
"""


class ImportRowQuerySet(models.QuerySet["ImportRow"]):
    def stage(self, batch: "Import", rows: Iterable[Row]) -> tuple[int, int]:
        """Write the rows of this import down, in the caller's transaction. Returns how many they
        are, and how many orders they make.
        """
        with connection.cursor() as cursor:
            for stretch in batched(enumerate(rows), settings.IMPORT_STAGE_BATCH):
                with cursor.copy(COPY) as copy:
                    for position, row in stretch:
                        copy.write_row(_copied(batch, position, row))
            cursor.execute(COUNT, [batch.pk])
            number, orders = cursor.fetchone()
            if number > settings.IMPORT_STAGE_BATCH:
                cursor.execute(KNOW)
        return number, orders

    def first_position(self, batch: "Import") -> int | None:
        """The position of the first row of this import that waits; None when none does."""
        waiting = self.filter(batch=batch).order_by("at")
        return waiting.values_list("at", flat=True).first()

    def take(self, batch: "Import", positions: range, *, limit: int) -> list[Row]:
        """Up to `limit` rows of this import at these positions, and the further rows of their
        orders, in the order of the file. They are gone with the commit.
        """
        values: dict[str, Any] = {
            "batch": batch.pk,
            "first": positions.start,
            "end": positions.stop,
            "limit": limit,
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE, values)
            taken = sorted(cursor.fetchall())
        return [
            Row(line_number, text, key, _fault(english, kept))
            for _, line_number, key, text, english, kept in taken
        ]


def _copied(batch: "Import", position: int, row: Row) -> tuple[Any, ...]:
    kept = row.fault_kept and Jsonb(row.fault_kept)
    return (batch.pk, position, row.line_number, row.key, row.text, row.fault, kept)


def _fault(english: str, kept: str | None) -> str:
    return restored(english, kept and json.loads(kept))


class ImportRow(models.Model):
    """A row of the file until it is worked off; `orders.imports.inputs` reads it."""

    batch = models.ForeignKey("Import", on_delete=models.CASCADE, related_name="+")
    at = models.IntegerField()  # its position among the rows, from 0
    line = models.IntegerField()  # of the file, where it begins
    key = models.TextField(null=True)  # rows with the same key are one order
    said = models.TextField()  # JSON, not parsed yet
    fault = models.TextField()  # why it cannot be read, in English
    fault_kept = models.JSONField(null=True)  # of that sentence, as `Sentence.kept` has it

    objects = ImportRowQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="import_row_once", fields=["batch", "at"])]
        indexes = [
            models.Index(
                name="import_row_key", fields=["batch", "key"], condition=Q(key__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"line {self.line} of {self.batch_id}"
