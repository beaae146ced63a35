"""Whatever is nested in whatever, the ledger gives what Celery's Redis backend gives."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import current_app as celery_app

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from tests.celery_ledger.canvases.shapes import Shape, build, define_tasks, shapes

pytestmark = pytest.mark.django_db(transaction=True)
CHECKOUT = Path(__file__).resolve().parents[3]
SEED = int(os.environ.get("CANVAS_SEED", "1"))
CANVASES = int(os.environ.get("CANVASES", "40"))
PLAIN_DB = 11  # of the broker, where nobody else is


class PlainCelery:
    """Another process, in which Celery is as it comes."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "tests.celery_ledger.canvases.plain", url]
        environment = {
            name: value
            for name, value in os.environ.items()
            if name != "DJANGO_SETTINGS_MODULE"  # or Celery makes it a Django app
        }
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=CHECKOUT,
            env=environment,
        )

    def outcome(self, shape: Shape) -> list[Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(shape) + "\n")
        self.process.stdin.flush()
        outcome: list[Any] = json.loads(self.process.stdout.readline())
        return outcome


@pytest.fixture
def plain(broker_url: str) -> Iterator[PlainCelery]:
    plain = PlainCelery(urlsplit(broker_url)._replace(path=f"/{PLAIN_DB}").geturl())
    yield plain
    plain.process.kill()
    plain.process.communicate()


def outcome(shape: Shape) -> list[Any]:
    try:
        promised = build(celery_app, shape).apply_async()
        work_off()
        return ["result", json.loads(json.dumps(promised.get(timeout=0.2)))]
    except Exception as exc:
        return ["raises", f"{type(exc).__name__}: {exc}"]


def test_the_rest_of_a_chain_behind_a_group_as_a_body_is_promised_once(plain: PlainCelery) -> None:
    define_tasks(celery_app)
    task, two = ["task"], ["group", [["task"], ["task"]]]
    body_of_two, then = ["chord", [task], two], ["chord", [task], ["group", [task]]]
    shape = ["chain", [body_of_two, then, ["group", [task]]]]
    assert outcome(shape) == plain.outcome(shape)
    assert Job.objects.count() == 6


@pytest.mark.timeout(120 + CANVASES)
def test_every_canvas_comes_to_what_it_comes_to_in_plain_celery(plain: PlainCelery) -> None:
    """Some shapes fail in plain Celery, or never end there: those are not compared."""
    define_tasks(celery_app)
    different, compared = [], 0
    for shape in islice(shapes(SEED), CANVASES):
        in_celery = plain.outcome(shape)
        if in_celery[0] != "result":
            continue
        compared += 1
        in_ledger = outcome(shape)
        if in_ledger != in_celery:
            different.append(f"{json.dumps(shape)}\n  Celery {in_celery[1]}\n  ledger {in_ledger}")
    assert not different, f"seed {SEED}, {len(different)} of {compared}:\n" + "\n".join(different)
    assert compared > CANVASES / 2, "too little of this works in plain Celery to say anything"
