"""An import: a file of orders that was accepted as a whole, and how far it has been worked off.

The file waits in Postgres as rows (`rows`). Whoever works one off counts its order, or notes its
fault, in the same transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from celery_ledger import waiting_in_bulk
from orders.imports.became import ImportOrder
from orders.imports.counts import Counts
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format, Manner
from orders.imports.inputs import Fault
from orders.imports.rows import ImportRow
from orders.models.client import Client
from values.refused import Refused, Sentence, kept_of, restored

TURN = 0x696D706F  # the advisory lock of the chunk whose turn it is: "impo"


class ImportQuerySet(models.QuerySet["Import"]):
    def accept(self, client: Client, rows: Iterable[Row], manner: Manner) -> "Import":
        """Take a whole file in, in the caller's transaction: all of its rows or none.

        Refuses with `too-many-imports` when as many of this client run as may. They are counted
        last, since whoever counts holds up the client's other imports.
        """
        batch = self.create(client=client, form=manner.form, quiet=manner.quiet)
        batch.rows, batch.total = ImportRow.objects.stage(batch, rows)
        batch.save(update_fields=["rows", "total"])
        Client.objects.locked(client.pk)
        most = settings.IMPORTS_RUNNING_PER_CLIENT
        if self.filter(client=client, finished_at=None).count() > most:
            text = "%(most)s imports of yours are running. Wait until one is done."
            raise Refused("too-many-imports", Sentence(text, most=most))
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
        """Whether the caller may work off a chunk: alone until its transaction ends, and without
        making others wait long.

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
        some = list(orders[: limit - forgotten])
        forgotten += ImportOrder.objects.filter(pk__in=some).delete()[0]
        if forgotten < limit:
            empty = old.filter(faults=None, orders=None).values_list("pk", flat=True)
            forgotten += self.filter(pk__in=list(empty[: limit - forgotten])).delete()[0]
        return forgotten


class Import(Counts):
    """An import. `total`, `ok` and `failed` count orders, of which each may be several rows of a
    CSV.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="imports")
    form = models.TextField(choices=Format)
    quiet = models.BooleanField(default=False, db_default=False)  # it mails no customer
    rows = models.IntegerField(default=0)
    total = models.IntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

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

    @property
    def chunks(self) -> range:
        """The position of the first row of each chunk."""
        return range(0, self.rows, settings.IMPORT_CHUNK_ROWS)

    @property
    def front(self) -> int | None:
        """The position of the first row of the next chunk, in which the first row stands that
        waits; None when none waits.
        """
        position = ImportRow.objects.first_position(self)
        return None if position is None else position - position % settings.IMPORT_CHUNK_ROWS

    # --- verbs; the caller has the turn -----------------------------------------------------------

    def take(self, first: int, *, limit: int) -> list[Row]:
        """The next rows of the chunk that begins there, in the order of the file. They are gone
        with the commit.
        """
        chunk = range(first, first + settings.IMPORT_CHUNK_ROWS)
        return ImportRow.objects.take(self, chunk, limit=limit)

    def count(self, *, ok: int, failed: int) -> None:
        Import.objects.filter(pk=self.pk).update(ok=F("ok") + ok, failed=F("failed") + failed)

    def note_orders(self, accepted: Sequence[ImportOrder]) -> None:
        ImportOrder.objects.bulk_create(accepted)

    def note(self, faults: Sequence[tuple[str | None, Fault]]) -> None:
        """Write these faults down, each behind the external_id of its order."""
        ImportFault.objects.bulk_create(
            ImportFault(
                batch=self,
                external_id=key or "",
                line=fault.line_number,
                field=fault.field,
                reason=fault.reason,
                kept=kept_of(fault.reason, settings.IMPORT_VALUE_MAX_CHARS),
            )
            for key, fault in faults
        )

    def finish(self) -> bool:
        """Mark it done, if every order has been worked off. Returns whether it is done."""
        complete = Import.objects.filter(pk=self.pk, total=F("ok") + F("failed"))
        complete.filter(finished_at=None).update(finished_at=Now())
        return complete.exists()


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
    def sentence(self) -> str:
        """Its reason, which a page can put into the language of its reader."""
        return restored(self.reason, self.kept)

    @classmethod
    def after(cls, batch: UUID, line_number: int, pk: int, limit: int) -> list["ImportFault"]:
        """The next faults of this import, in the order of their lines."""
        from_this_line = cls.objects.filter(batch=batch, line__gte=line_number)
        further = from_this_line.filter(Q(line__gt=line_number) | Q(pk__gt=pk))
        return list(further.order_by("line", "pk")[:limit])
