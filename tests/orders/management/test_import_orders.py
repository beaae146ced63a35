"""`manage.py import_orders`: what somebody who runs it reads, and its exit code."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from celery_ledger.models import Job, Worker
from celery_ledger.testing import attempt, work_off
from orders.imports.models import Import
from orders.management.commands import import_orders
from orders.models import Client, Order
from tests.orders.imports.files import as_csv, as_ndjson, cells
from tests.promises.processes import Stack

pytestmark = pytest.mark.django_db(transaction=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_bytes(
        as_csv([cells(), cells(external_id="o-2", total="1"), cells(external_id="o-3")])
    )
    return path


def run(*arguments: Any, out: io.StringIO | None = None) -> list[str]:
    output = out or io.StringIO()
    call_command("import_orders", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_it_waits_for_the_workers_and_says_what_came_of_it(
    stack: Stack, shop: Client, stock: Any, file: Path
) -> None:
    stock()
    stack.start("worker")
    output = io.StringIO()
    with pytest.raises(
        CommandError, match=r"^1 orders failed; all reasons: /v1/imports/.*/errors\.csv$"
    ):
        run(file, "--wait", "60", out=output)
    lines = output.getvalue().splitlines()
    assert lines[0].endswith(": 3 orders in 3 rows were accepted.")
    assert lines[-3].startswith("100 %  3 of 3 orders  ")
    assert lines[-3].endswith("/s  1 failed")
    assert lines[-2:] == [
        "Done: 3 orders, 2 confirmed, 1 refused.",
        "  line 3 total (o-2): is 1, but the lines and the shipping add up to 660",
    ]
    assert "\r" not in output.getvalue()
    assert Order.objects.count() == 2


def test_it_says_which_orders_were_accepted_and_unmet(
    shop: Client, stock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And waits until that is known: accepted is not there yet."""
    stock(on_hand=2)
    rows = [cells(), cells(external_id="o-2"), cells(external_id="o-3", token="tok_declined")]
    (tmp_path / "orders.csv").write_bytes(as_csv(rows))

    def work(seconds: float) -> None:
        """The chunk first, and its orders only once the import calls itself done."""
        for job in Job.objects.filter(state="waiting", due_at__lte=timezone.now()):
            if job.task.startswith("orders.imports") or Import.objects.get().state == "done":
                attempt(job)

    monkeypatch.setattr(time, "sleep", work)
    output = io.StringIO()
    with pytest.raises(CommandError, match="2 orders failed"):
        run(tmp_path / "orders.csv", out=output)
    assert output.getvalue().splitlines()[-3:] == [
        "Done: 3 orders, 1 confirmed, 2 sold out.",
        "  line 3 (o-2): sold out",
        "  line 4 (o-3): sold out",
    ]


def test_a_dry_run_says_what_would_be_refused(shop: Client, stock: Any, file: Path) -> None:
    stock()
    output = io.StringIO()
    with pytest.raises(CommandError, match=r"^1 orders would fail\. Nothing was written\.$"):
        run(file, "--dry-run", out=output)
    assert output.getvalue().splitlines() == [
        "Dry run: 3 orders, 2 ok, 1 refused.",
        "  line 3 total (o-2): is 1, but the lines and the shipping add up to 660",
    ]
    assert (Import.objects.count(), Order.objects.count(), Job.objects.count()) == (0, 0, 0)


def test_units_and_encoding_are_options(shop: Client, stock: Any, tmp_path: Path) -> None:
    stock()
    rows = [cells(currency="EUR", quantity="1", unit_price="12.50", tax="", total="12,50")]
    (tmp_path / "a.csv").write_bytes(as_csv(rows).decode().encode("cp932"))
    with pytest.raises(CommandError, match="Line 2 is not UTF-8"):
        run(tmp_path / "a.csv", "--wait", "0")
    with pytest.raises(CommandError, match=r"unit_price: 12\.50 is no whole number"):
        run(tmp_path / "a.csv", "--encoding", "shift_jis", "--wait", "0")
    run(tmp_path / "a.csv", "--encoding", "shift_jis", "--amounts", "major", "--wait", "0")
    work_off()
    assert (Order.objects.get().total, Order.objects.get().lines.get().name) == (1250, "鮭")


def test_it_tells_once_that_no_worker_is_alive_and_leaves_the_import_to_itself(
    shop: Client, file: Path
) -> None:
    lines = run(file, "--wait", "1")
    assert lines[1:] == [import_orders.NO_WORKER, "Stopped watching. The import goes on by itself."]
    assert Import.objects.get().state == "running"
    assert Job.objects.count() == 1


def test_it_notices_a_worker_that_comes(
    shop: Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks a worker comes and does it all."""

    def pause(seconds: float) -> None:
        Worker.objects.beat(uuid4(), name="celery@here", pid=5)
        if len(output.getvalue().splitlines()) > 2:
            work_off()

    monkeypatch.setattr(time, "sleep", pause)
    output = io.StringIO()
    with pytest.raises(CommandError, match="3 orders failed"):
        run(file, out=output)
    assert output.getvalue().splitlines()[1:3] == [
        import_orders.NO_WORKER,
        import_orders.A_WORKER_CAME,
    ]


def test_on_a_terminal_it_redraws_one_line(
    shop: Client, stock: Any, file: Path, monkeypatch: Any
) -> None:
    stock()
    Worker.objects.beat(uuid4(), name="celery@here", pid=5)
    monkeypatch.setattr(time, "sleep", lambda seconds: work_off())
    output = Terminal()
    with pytest.raises(CommandError, match="1 orders failed"):
        run(file, out=output)
    assert (
        "[..............................]   0 %  0 of 3 orders  0/s  0 failed\x1b[K"
        in output.getvalue()
    )
    assert "[##############################] 100 %  3 of 3 orders  " in output.getvalue()
    assert output.getvalue().splitlines()[-2].startswith("Done: 3 orders, 2 confirmed, 1 refused.")


def test_ctrl_c_stops_the_watching_only(
    shop: Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert run(file)[-1] == "Stopped watching. The import goes on by itself."
    assert Job.objects.count() == 1


def test_ndjson_is_told_by_its_name_or_by_the_option(
    shop: Client, stock: Any, tmp_path: Path, order_body: Callable[..., Any]
) -> None:
    stock()
    for name, arguments in (("a.ndjson", []), ("b.jsonl", []), ("c.txt", ["--format", "ndjson"])):
        (tmp_path / name).write_bytes(as_ndjson([order_body(external_id=name)]))
        assert len(run(tmp_path / name, *arguments, "--wait", "0")) == 1
    with pytest.raises(
        CommandError, match=r"^c\.txt could be anything: say --format csv or --format ndjson\.$"
    ):
        run(tmp_path / "c.txt")
    work_off()
    assert Order.objects.filter(client=shop).count() == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"orders\.csv cannot be read: No such file or directory\.$"),
        (b"sku\n", r"^orders\.csv was not accepted: this column is missing: external_id"),
        (b"\xff\n", r"^orders\.csv was not accepted: Line 1 is not UTF-8"),
        (b"x" * 2000, r"^orders\.csv has 2000 bytes; 1000 are allowed\. Split it\.$"),
    ],
)
def test_a_file_that_is_not_accepted_is_told_in_a_sentence(
    shop: Client, file: Path, settings: Any, text: bytes | None, sentence: str
) -> None:
    settings.IMPORT_MAX_BYTES = 1000
    file.unlink() if text is None else file.write_bytes(text)
    with pytest.raises(CommandError, match=sentence):
        run(file)
    assert (Import.objects.count(), Job.objects.count()) == (0, 0)


def test_an_empty_name_is_not_taken_for_the_only_client(shop: Client, file: Path) -> None:
    """As from a variable of the shell that is not set."""
    with pytest.raises(CommandError, match=r"^There is no client ''"):
        run(file, "--client", "")
    assert not Import.objects.exists()


def test_it_asks_whose_orders_they_are_when_that_is_not_clear(shop: Client, file: Path) -> None:
    other = Client.objects.create(name="other")
    with pytest.raises(CommandError, match=r"^Say whose orders they are: --client NAME\.$"):
        run(file)
    with pytest.raises(
        CommandError,
        match=r"^There is no client 'nobody'; `manage\.py apikey create nobody` makes one",
    ):
        run(file, "--client", "nobody")
    run(file, "--client", "other", "--wait", "0")
    assert Import.objects.get().client == other
