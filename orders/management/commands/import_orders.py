"""`manage.py import_orders FILE [--client NAME] [--amounts major] [--encoding …] [--dry-run] …`"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from celery_ledger import Worker
from orders.imports import tasks
from orders.imports.files.csv_rows import Amounts
from orders.imports.files.encoding import ENCODINGS, UTF_8
from orders.imports.files.reading import Format, Manner, Stage, staged
from orders.imports.models import Import
from orders.imports.trial import tried
from orders.models import Client
from values.refused import Refused

SUFFIXES = {".csv": Format.CSV, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON}
WAIT_S = 3600.0
POLL_S = 0.2
FAULTS_SHOWN = 20
BAR_CELLS = 30
LINE_EVERY_S = 5.0  # where there is no terminal
NO_WORKER = (
    "No worker is alive. The import waits in Postgres; start one (Procfile: worker) and it goes on."
)
A_WORKER_CAME = "A worker has come."


class Command(BaseCommand):
    help = "Import a file of orders, as POST /v1/imports does, and watch the workers work it off."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        kinds = "CSV, a row per order line; or NDJSON, an order body per line"
        parser.add_argument("file", type=Path, help=kinds)
        whose = "whose orders they are; needed when there are several clients"
        parser.add_argument("--client", help=whose)
        kind = "unless the file's name says so"
        parser.add_argument("--format", choices=Format.values, help=kind)
        wait = "0: do not wait for the end"
        unit = "what amounts count: minor, cents as whole numbers (the default); major, 12.50"
        parser.add_argument("--amounts", choices=list(Amounts), default=Amounts.MINOR, help=unit)
        text = "how the file is written, if it is not UTF-8 and does not say so itself"
        parser.add_argument("--encoding", choices=list(ENCODINGS), default=UTF_8, help=text)
        silent = "mail no customer about these orders; cards are not charged then"
        parser.add_argument("--quiet", action="store_true", help=silent)
        dry = "say what would be refused, and write nothing"
        parser.add_argument("--dry-run", action="store_true", help=dry)
        parser.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help=wait)

    def handle(self, *args: Any, **options: Any) -> None:
        form = _format(options["file"], options["format"])
        if form == Format.NDJSON and options["amounts"] == Amounts.MAJOR:
            raise CommandError("NDJSON has whole numbers; --amounts major is for CSV.")
        manner = Manner(form, Amounts(options["amounts"]), options["encoding"], options["quiet"])
        client = _client(options["client"])
        if options["dry_run"]:
            self._try(options["file"], client, manner)
            return
        batch = _accepted(options["file"], client, manner)
        accepted = f"{batch.total} orders in {batch.rows} rows were accepted."
        self.stdout.write(f"Import {batch.pk}: {accepted}")
        if options["wait"]:
            self._follow(batch, options["wait"])

    def _follow(self, batch: Import, wait_s: float) -> None:
        """Watch the workers, and print what the import came to. Exit code 1 when one failed."""
        try:
            self._watch(batch, time.monotonic() + wait_s)
        except KeyboardInterrupt:
            self.stdout.write("")
        batch.refresh_from_db()
        if batch.state == "done":
            self._report(batch)
        else:
            self.stdout.write("Stopped watching. The import goes on by itself.")

    def _try(self, file: Path, client: Client, manner: Manner) -> None:
        """Print what an import would refuse. Exit code 1 when it is anything."""
        with _staged(file, manner) as rows:
            trial = tried(client, rows, manner)
        self.stdout.write(f"Dry run: {trial.total} orders, {trial.ok} ok, {trial.failed} refused.")
        for name, fault in trial.faults:
            self.stdout.write(_entry(fault.line_number, fault.field, name, fault.reason))
        if trial.failed:
            raise CommandError(f"{trial.failed} orders would fail. Nothing was written.")

    def _watch(self, batch: Import, until: float) -> None:
        """Show how far an import is, until it is done; and that nobody works on it, whenever that
        begins.
        """
        progress = Progress(self.stdout, batch)
        somebody_works = True
        while time.monotonic() < until:
            batch.refresh_from_db()
            progress.show()
            if batch.state == "done" and batch.orders.are_decided():
                break
            if somebody_works != Worker.objects.living().exists():
                somebody_works = not somebody_works
                progress.say(A_WORKER_CAME if somebody_works else NO_WORKER)
            time.sleep(POLL_S)
        progress.end()

    def _report(self, batch: Import) -> None:
        """Print what became of the orders of an import. Exit code 1 when one failed."""
        counts = batch.counts()
        became = [f"{n} {way.replace('_', ' ')}" for way, n in counts["became"].items() if n]
        self.stdout.write(f"Done: {batch.total} orders, {', '.join(became)}.")
        for fault in batch.faults.all()[:FAULTS_SHOWN]:
            self.stdout.write(_entry(fault.line, fault.field, fault.external_id, fault.reason))
        unmet = islice(batch.orders.unmet_by_line(FAULTS_SHOWN), FAULTS_SHOWN)
        for line_number, name, way in unmet:
            self.stdout.write(_entry(line_number, "", name, way.replace("_", " ")))
        if counts["failed"]:
            reasons = f"/v1/imports/{batch.pk}/errors.csv"
            raise CommandError(f"{counts['failed']} orders failed; all reasons: {reasons}")


class Progress:
    """A bar that redraws itself on a terminal; elsewhere a line now and then."""

    def __init__(self, out: Any, batch: Import) -> None:
        self._out: TextIO = out
        self._batch = batch
        self._began = self._spoke = time.monotonic()
        self._on_terminal = bool(out.isatty())

    def show(self) -> None:
        now = time.monotonic()
        if self._on_terminal:
            bar = f"\r{self._bar()} {self._figures(now)}\x1b[K"
            self._out.write(bar, ending="")  # type: ignore[call-arg]
            self._out.flush()
        elif now - self._spoke >= LINE_EVERY_S or self._batch.state == "done":
            self._spoke = now
            self._out.write(self._figures(now))

    def say(self, sentence: str) -> None:
        self._out.write(f"\r{sentence}\x1b[K" if self._on_terminal else sentence)

    def end(self) -> None:
        if self._on_terminal:
            self._out.write("")

    def _bar(self) -> str:
        full = BAR_CELLS * self._batch.percent // 100
        return f"[{'#' * full}{'.' * (BAR_CELLS - full)}]"

    def _figures(self, now: float) -> str:
        batch, worked = self._batch, self._batch.ok + self._batch.failed
        rate = worked / max(now - self._began, 0.001)
        return (
            f"{batch.percent:3d} %  {worked} of {batch.total} orders  {rate:.0f}/s  "
            f"{batch.failed} failed"
        )


def _format(file: Path, named: str | None) -> Format:
    form = Format(named) if named else SUFFIXES.get(file.suffix.lower())
    if form is None:
        raise CommandError(f"{file.name} could be anything: say --format csv or --format ndjson.")
    return form


def _client(name: str | None) -> Client:
    """The client of this name; without a name the only one there is."""
    if name is None:
        clients = list(Client.objects.order_by("name")[:2])
        if len(clients) != 1:
            raise CommandError("Say whose orders they are: --client NAME.")
        return clients[0]
    client = Client.objects.filter(name=name).first()
    if client is None:
        makes_one = f"`manage.py apikey create {name}` makes one."
        raise CommandError(f"There is no client {name!r}; {makes_one}")
    return client


def _entry(line_number: int, field: str, name: str, reason: str) -> str:
    where = f" {field}" if field else ""
    return f"  line {line_number}{where} ({name or 'no external_id'}): {reason}"


def _accepted(file: Path, client: Client, manner: Manner) -> Import:
    """The import of this file: it is taken in as a whole, with its first jobs, or not at all."""
    with _staged(file, manner) as rows, transaction.atomic():
        batch = Import.objects.accept(client, rows, manner)
        tasks.begin(batch)
        return batch


@contextmanager
def _staged(file: Path, manner: Manner) -> Iterator[Stage]:
    """The rows of a file. Anything wrong with it ends the command in a sentence."""
    try:
        size = file.stat().st_size
        if size > settings.IMPORT_MAX_BYTES:
            allowed = f"{settings.IMPORT_MAX_BYTES} are allowed. Split it."
            raise CommandError(f"{file.name} has {size} bytes; {allowed}")
        with file.open("rb") as stream, staged(stream, manner) as rows:
            yield rows
    except OSError as exc:
        raise CommandError(f"{file} cannot be read: {exc.strerror}.") from exc
    except Refused as exc:
        raise CommandError(f"{file.name} was not accepted: {exc}") from exc
