"""An import: a file of orders that was accepted as a whole, and how far it has been worked off.

The file waits in Postgres as rows nobody has judged. Working one off deletes it, in the transaction
that places its order or notes its fault and counts it, so a row is worked off once, whoever dies.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from celery_ledger import waiting_in_bulk
from notifications.models.changes import settled_until
from orders.imports.became import CANCELLED, WAYS, ImportOrder
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format, Manner
from orders.imports.inputs import Fault
from orders.models.client import Client
from orders.states import UNMET
from values.refused import Refused, Sentence, kept_of, said_again

TURN = 0x696D706F  # the advisory lock of the chunk whose turn it is: "impo"

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


class ImportQuerySet(models.QuerySet["Import"]):
    def accept(self, client: Client, rows: Iterable[Row], manner: Manner) -> "Import":
        """Take a whole file in, in the caller's transaction: all of its rows or none.

        Raises a 409 problem when as many imports of this client run as may. They are counted last,
        since whoever counts holds up the client's other imports.
        """
        batch = self.create(client=client, form=manner.form, quiet=manner.quiet)
        with connection.cursor() as cursor:
            for stretch in batched(enumerate(rows), settings.IMPORT_STAGE_BATCH):
                with cursor.copy(COPY) as copy:
                    for position, row in stretch:
                        copy.write_row(_copied(batch, position, row))
            cursor.execute(COUNT, [batch.pk])
            batch.rows, batch.total = cursor.fetchone()
            if batch.rows > settings.IMPORT_STAGE_BATCH:
                cursor.execute(KNOW)
        batch.save(update_fields=["rows", "total"])
        Client.objects.locked(client.pk)
        if (
            self.filter(client=client, finished_at=None).count()
            > settings.IMPORTS_RUNNING_PER_CLIENT
        ):
            said = "%(most)s imports of yours are running. Wait until one is done."
            detail = Sentence(said, most=settings.IMPORTS_RUNNING_PER_CLIENT)
            raise Refused("too-many-imports", detail)
        return batch

    def find(self, pk: Any) -> "Import | None":
        return self.select_related("client").filter(pk=pk).first()

    def running(self, limit: int) -> list["Import"]:
        """Up to `limit` that are not done, the oldest first."""
        return list(self.filter(finished_at=None).order_by("pk")[:limit])

    def to_be_counted(self, limit: int) -> list["Import"]:
        """Up to `limit` that are done and too large to be counted at each look, those first whose
        count is the oldest.
        """
        done = self.filter(finished_at__isnull=False, total__gt=settings.IMPORT_COUNTED_ORDERS)
        oldest_first = F("ways_until").asc(nulls_first=True)
        return list(done.select_related("client").order_by(oldest_first, "pk")[:limit])

    def take_turn(self) -> bool:
        """Whether the caller may work off a chunk, alone until its transaction ends, without others
        waiting long.

        One chunk at a time leaves the other processes to interactive work; a short line of bulk
        jobs keeps the broker small and lets an order's payment follow soon after its goods were set
        aside.
        """
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [TURN])
            mine = bool(cursor.fetchone()[0])
        return mine and waiting_in_bulk(settings.IMPORT_BACKLOG_MAX) < settings.IMPORT_BACKLOG_MAX

    def forget_old(self, limit: int) -> int:
        """Delete finished imports that are older than IMPORT_KEEP with their notes, up to `limit`
        rows.
        """
        old = self.filter(finished_at__lt=Now() - settings.IMPORT_KEEP).order_by("finished_at")
        faults = ImportFault.objects.filter(batch__in=old).values_list("pk", flat=True)[:limit]
        forgotten = ImportFault.objects.filter(pk__in=list(faults)).delete()[0]
        orders = ImportOrder.objects.filter(batch__in=old).values_list("pk", flat=True)
        forgotten += ImportOrder.objects.filter(pk__in=list(orders[: limit - forgotten])).delete()[
            0
        ]
        if forgotten < limit:
            empty = old.filter(faults=None, orders=None).values_list("pk", flat=True)
            forgotten += self.filter(pk__in=list(empty[: limit - forgotten])).delete()[0]
        return forgotten


def _copied(batch: "Import", position: int, row: Row) -> tuple[Any, ...]:
    kept = row.fault_kept and Jsonb(row.fault_kept)
    return (batch.pk, position, row.line, row.key, row.said, row.fault, kept)


class Import(models.Model):
    """`total`, `ok` and `failed` count orders; in a CSV several rows may be one. `ok` were
    accepted; what became of them is said by `counts`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="imports")
    form = models.TextField(choices=Format)
    quiet = models.BooleanField(default=False, db_default=False)  # it mails no customer
    rows = models.IntegerField(default=0)
    total = models.IntegerField(default=0)
    ok = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    # how many of its orders had gone which way, with all changes before that moment
    ways = models.JSONField(null=True)
    ways_until = models.DateTimeField(null=True)

    objects = ImportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="import_counts",
                condition=Q(ok__gte=0, failed__gte=0, total__gte=F("ok") + F("failed")),
            ),
            models.CheckConstraint(
                name="import_finished_is_complete",
                condition=Q(finished_at__isnull=True) | Q(total=F("ok") + F("failed")),
            ),
        ]
        indexes = [models.Index(name="import_finished", fields=["finished_at"])]

    def __str__(self) -> str:
        return f"{self.pk} ({self.state})"

    @property
    def state(self) -> str:
        return "done" if self.finished_at else "running"

    @property
    def percent(self) -> int:
        return 100 * (self.ok + self.failed) // self.total

    def counts(self, ways: dict[str, int] | None = None) -> dict[str, Any]:
        """`ok`: there or on their way; `failed`: the others; and what `became` of all of them: as
        they are now, or as these ways say.
        """
        ways = ways or self.known_ways() or self.orders.ways()
        became = {**ways, "refused": self.failed}
        became[CANCELLED] += self.ok + self.failed - sum(became.values())  # elsewhere, unpaid
        unmet = sum(became[way] for way in UNMET.values())
        return {"ok": self.ok - unmet, "failed": self.failed + unmet, "became": became}

    def kept_ways(self) -> dict[str, int] | None:
        """As they were at `ways_until`; None where nobody has counted these ways."""
        kept = self.ways or {}
        return {way: kept[way] for way in WAYS} if kept.keys() == set(WAYS) else None

    def known_ways(self) -> dict[str, int] | None:
        """Those that are kept, if none of its orders has changed since. None if one has, or if more
        of its client's have than are looked at.
        """
        if (kept := self.kept_ways()) is None or self.ways_until is None:
            return None
        theirs, most = Client(pk=self.client_id).orders, settings.IMPORT_CHANGES_LOOKED_AT
        changed = theirs.filter(updated_at__gte=self.ways_until).order_by("-updated_at")
        ids = list(changed.values_list("pk", flat=True)[: most + 1])
        return None if len(ids) > most or self.orders.filter(order__in=ids).exists() else kept

    def keep_ways(self) -> int:
        """Keep how they are now. It returns how many orders were counted for that: none of those
        that are known.
        """
        until = settled_until()
        known = self.known_ways()
        ways = known or self.orders.ways()
        Import.objects.filter(pk=self.pk).update(ways=ways, ways_until=until)
        return 0 if known else self.ok

    @property
    def chunks(self) -> range:
        """Where each chunk begins: the place of its first row."""
        return range(0, self.rows, settings.IMPORT_CHUNK_ROWS)

    @property
    def front(self) -> int | None:
        """Where the chunk begins that is next: its rows are the first that wait. None when none
        waits.
        """
        position = (
            ImportRow.objects.filter(batch=self).order_by("at").values_list("at", flat=True).first()
        )
        return None if position is None else position - position % settings.IMPORT_CHUNK_ROWS

    # --- verbs; the caller has the turn -----------------------------------------------------------

    def take(self, first: int, *, limit: int) -> list["ImportRow"]:
        """The next rows of the chunk that begins there, in the order of the file. They are gone
        with the commit.
        """
        end = first + settings.IMPORT_CHUNK_ROWS
        with connection.cursor() as cursor:
            cursor.execute(TAKE, {"batch": self.pk, "first": first, "end": end, "limit": limit})
            taken = sorted(cursor.fetchall())
        return [
            ImportRow(batch=self, at=at, line=line, key=key, said=said, fault=_again(fault, kept))
            for at, line, key, said, fault, kept in taken
        ]

    def count(self, *, ok: int, failed: int) -> None:
        Import.objects.filter(pk=self.pk).update(ok=F("ok") + ok, failed=F("failed") + failed)

    def note_orders(self, accepted: Sequence[ImportOrder]) -> None:
        ImportOrder.objects.bulk_create(accepted)

    def note(self, faults: Sequence[tuple[str | None, Fault]]) -> None:
        """Pairs of external_id and fault."""
        ImportFault.objects.bulk_create(
            ImportFault(
                batch=self,
                external_id=key or "",
                line=fault.line,
                field=fault.field,
                reason=fault.reason,
                kept=kept_of(fault.reason, settings.IMPORT_VALUE_MAX_CHARS),
            )
            for key, fault in faults
        )

    def finish(self) -> bool:
        """Done, if every order has been worked off. True also when it was done before."""
        complete = Import.objects.filter(pk=self.pk, total=F("ok") + F("failed"))
        complete.filter(finished_at=None).update(finished_at=Now())
        return complete.exists()


def _again(fault: str, kept: str | None) -> str:
    return said_again(fault, kept and json.loads(kept))


class ImportRow(models.Model):
    """A row of the file until it is worked off; `orders.imports.inputs` reads it."""

    batch = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="+")
    at = models.IntegerField()  # its place among the rows, from 0
    line = models.IntegerField()  # of the file, where it begins
    key = models.TextField(null=True)  # rows with the same key are one order
    said = models.TextField()  # JSON, not parsed yet
    fault = models.TextField()  # why it cannot be read, in English
    fault_kept = models.JSONField(null=True)  # of that sentence, as `Sentence.kept` has it

    class Meta:
        constraints = [models.UniqueConstraint(name="import_row_once", fields=["batch", "at"])]
        indexes = [
            models.Index(
                name="import_row_key", fields=["batch", "key"], condition=Q(key__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"line {self.line} of {self.batch_id}"


class ImportFault(models.Model):
    """Why an order of the file was not accepted, on the line where it stands."""

    batch = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="faults")
    line = models.IntegerField()
    external_id = models.TextField()
    field = models.TextField()
    reason = models.TextField()  # in English
    kept = models.JSONField(null=True)  # of that sentence, as `Sentence.kept` has it

    class Meta:
        ordering = ["line", "pk"]
        indexes = [models.Index(name="import_fault_line", fields=["batch", "line", "id"])]

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"

    @property
    def said(self) -> str:
        """Why, to be said in the language of whoever reads it."""
        return said_again(self.reason, self.kept)

    @classmethod
    def after(cls, batch: UUID, line_number: int, pk: int, limit: int) -> list["ImportFault"]:
        """The next faults of this import, in the order of their lines."""
        # begins in the index
        further = cls.objects.filter(
            Q(line__gt=line_number) | Q(pk__gt=pk), batch=batch, line__gte=line_number
        )
        return list(further.order_by("line", "pk")[:limit])
