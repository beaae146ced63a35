"""What 100,000 rows cost against 10,000: taking the file in, a chunk at its beginning and at its
end, and a look at how far it is. `bin/bench -k import_growth`.

CPU of this process and buffers of Postgres; what the jobs of the orders cost is that of any order.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from orders.imports import placing
from orders.imports.models import Import
from orders.imports.rows import ImportRow
from orders.models import Client
from tests.orders.imports.files import as_csv, cells
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
SIZES = (10_000, 100_000)
CHUNK, GROWTH_MAX = 200, 1.5


def measured(do: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of CPU of this process, and buffers."""
    begun = time.process_time()
    plans = plans_of(do)
    return time.process_time() - begun, sum(plan.buffers for plan in plans)


def work_off(batch: Import, first: int) -> None:
    with transaction.atomic():
        placing.work_off(batch, first)


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def test_import_growth(api: Api, shop: Client, stock: Any, settings: Any) -> None:
    settings.IMPORT_TURN_S = 600.0  # a whole chunk, also with all of it explained
    stock(on_hand=10**6)
    per_chunk = []
    for rows in SIZES:
        file = as_csv([cells(external_id=f"o-{rows}-{n}") for n in range(rows)])
        headers = {"Idempotency-Key": str(rows)}
        begun, cpu = time.perf_counter(), time.process_time()
        answer = api.post("/v1/imports", file, "text/csv", headers=headers)
        assert answer.status_code == 202, answer.content
        cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
        batch = Import.objects.get(pk=answer.json()["id"])
        begin = measured(lambda batch=batch: work_off(batch, 0))  # type: ignore[misc]
        last = rows - CHUNK
        ImportRow.objects.filter(batch=batch, at__lt=last).delete()
        end = measured(lambda batch=batch, last=last: work_off(batch, last))  # type: ignore[misc]
        analyze()
        look = measured(lambda answer=answer: api.get(answer["Location"]))  # type: ignore[misc]
        per_chunk.append((begin[1], end[1]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"\n{rows:7} rows: accepted in {wall:.1f} s, {cpu:.1f} s of CPU, peak {peak:.0f} MiB; "
            f"first chunk {begin[0]:.2f} s CPU {begin[1]} buffers, "
            f"last {end[0]:.2f} s {end[1]}, a look {look[0]:.3f} s {look[1]}"
        )
    small, large = (max(figures) for figures in per_chunk)
    assert large <= GROWTH_MAX * small
