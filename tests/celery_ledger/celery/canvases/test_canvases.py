"""However a canvas is nested, its result is the same as with Celery's Redis backend."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from celery import current_app as celery_app

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from tests.celery_ledger.celery.canvases.shapes import Shape, build, define_tasks, shapes
from tests.celery_ledger.celery.plain_celery import PlainCelery, plain_celery

pytestmark = pytest.mark.django_db(transaction=True)
SEED = int(os.environ.get("CANVAS_SEED", "1"))
CANVASES = int(os.environ.get("CANVASES", "20"))


@pytest.fixture
def plain(broker_url: str) -> Iterator[PlainCelery]:
    with plain_celery("tests.celery_ledger.celery.canvases.plain", broker_url) as plain:
        yield plain


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
