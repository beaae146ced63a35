"""What an import came to is kept once it is over, and what the API says of it is true at every
look.
"""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from celery_ledger.testing import work_off
from notifications.models.changes import Written
from orders.imports import tasks
from orders.imports.became import WAYS, ImportOrder
from orders.imports.models import Import
from orders.models import Order
from tests.orders.imports.files import as_csv, cells
from tests.postgres.hands import Hand
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
MANY, OTHERS = 20_000, 100  # orders of a file, and of the shop otherwise
LITTLE = 30  # buffers
AMONG_OTHERS = """
INSERT INTO orders_order ({columns}) SELECT {values}
  FROM orders_order AS old, generate_series(1, %(many)s) AS n WHERE old.id = %(order)s
"""


@pytest.fixture
def batch(api: Api, stock: Any, monkeypatch: pytest.MonkeyPatch) -> Import:
    """A finished import of three orders, all of them confirmed, and counted."""
    monkeypatch.setattr(settings, "IMPORT_COUNTED_ORDERS", 2)
    stock()
    rows = [cells(external_id=f"o-{number}") for number in range(3)]
    named = {"Idempotency-Key": "import-1"}
    api.generic("POST", "/v1/imports", as_csv(rows), "text/csv", headers=named)
    work_off(ahead=settings.IMPORT_KEEP)
    count()
    return Import.objects.get()


def count() -> Import:
    tasks.count_imports.delay()
    work_off()
    return Import.objects.get()


def became(api: Api, batch: Import) -> dict[str, int]:
    answer = api.get(f"/v1/imports/{batch.pk}").json()
    return {way: number for way, number in answer["became"].items() if number}


def hold(external_id: str) -> None:
    with transaction.atomic():
        Order.objects.locked(Order.objects.get(external_id=external_id).pk).hold("why")


def test_what_is_kept_is_shown_until_an_order_of_it_changes(api: Api, batch: Import) -> None:
    assert batch.ways == {**dict.fromkeys(batch.ways or {}, 0), "confirmed": 3}
    assert batch.known_ways() == batch.ways
    ways = api.get(f"/v1/imports/{batch.pk}").json()["became"]
    assert list(ways) == [*WAYS, "refused"], "in the order of the API, which JSONB has not"
    assert became(api, batch) == {"confirmed": 3}
    hold("o-1")
    assert (batch.known_ways(), became(api, batch)) == (None, {"confirmed": 2, "held": 1})
    batch = count()
    assert batch.known_ways() == batch.orders.ways()
    assert list(batch.counts()["became"]) == list(
        api.get(f"/v1/imports/{batch.pk}").json()["became"]
    )


def test_what_was_being_changed_while_it_was_counted_is_not_missed(
    api: Api, batch: Import, one: Hand
) -> None:
    """Nobody who counts sees it, and its moment is before the count."""
    one.open_transaction()
    one.do(lambda: hold("o-1"))
    batch = count()
    assert batch.known_ways() is None or became(api, batch) == {"confirmed": 3}
    one.commit()
    assert became(api, batch) == {"confirmed": 2, "held": 1}


def test_orders_of_others_leave_it_known_until_too_many_of_them_have_changed(
    api: Api, batch: Import, order_body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.place(order_body())
    work_off()
    assert batch.known_ways() == batch.ways
    monkeypatch.setattr(settings, "IMPORT_CHANGES_LOOKED_AT", 0)
    assert (batch.known_ways(), became(api, batch)) == (None, {"confirmed": 3})
    monkeypatch.setattr(settings, "IMPORT_CHANGES_LOOKED_AT", 1)
    again = count()
    assert (again.ways, again.known_ways()) == (batch.ways, batch.ways)
    assert again.ways_until != batch.ways_until


def test_what_another_release_counted_is_counted_anew(api: Api, batch: Import) -> None:
    Import.objects.update(ways={"confirmed": 2, "lost": 1})
    batch.refresh_from_db()
    assert (batch.known_ways(), became(api, batch)) == (None, {"confirmed": 3})


def test_a_running_or_small_import_is_not_kept(
    api: Api, batch: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    Import.objects.update(ways=None, finished_at=None)
    assert count().ways is None
    Import.objects.update(finished_at=batch.finished_at)
    monkeypatch.setattr(settings, "IMPORT_COUNTED_ORDERS", 3)
    assert count().ways is None


def test_one_run_counts_no_more_than_a_files_orders_and_the_next_goes_on(
    batch: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Import.objects.create(client=batch.client, form="csv", total=3, ok=3)
    Import.objects.update(ways=None, ways_until=None, finished_at=batch.finished_at)
    monkeypatch.setattr(settings, "IMPORT_MAX_ROWS", 3)
    kept = Import.objects.exclude(ways__isnull=True)
    for number in (1, 2):
        tasks.count_imports.delay()
        work_off()
        assert kept.count() == number
    later.refresh_from_db()
    assert later.ways == {**dict.fromkeys(later.ways or {}, 0)}


def test_to_look_at_a_large_one_costs_little_once_it_is_counted(api: Api, batch: Import) -> None:
    fill(batch)
    path = f"/v1/imports/{batch.pk}"
    dear = cost_of(api, path)
    count()
    assert cost_of(api, path) < LITTLE < dear
    others = Order.objects.filter(external_id__startswith="q-")
    others.update(updated_at=Written())
    assert cost_of(api, path) < LITTLE + 5 * OTHERS < dear
    assert Import.objects.get().known_ways() is not None
    assert became(api, batch) == {"confirmed": MANY + 3}


def cost_of(api: Api, path: str) -> int:
    plans = plans_of(lambda: api.get(path))
    return sum(plan.buffers for plan in plans)


def fill(batch: Import) -> None:
    """MANY orders of it more, and OTHERS, none of which has changed in the last hour."""
    own = {"id": "gen_random_uuid()", "number": "'N-' || n", "public_token": "'t-' || n"}
    own |= {"external_id": f"CASE WHEN n > {OTHERS} THEN 'p-' ELSE 'q-' END || n"}
    own |= {"updated_at": "now() - interval '1 h'"}
    columns = [str(one.column) for one in Order._meta.concrete_fields if not one.generated]
    values = [own.get(column, f"old.{column}") for column in columns]
    order = Order.objects.latest("pk")
    orders = AMONG_OTHERS.format(columns=", ".join(columns), values=", ".join(values))
    with connection.cursor() as cursor:
        cursor.execute(orders, {"many": MANY + OTHERS, "order": order.pk})
        cursor.execute("VACUUM ANALYZE orders_order")
    others = Order.objects.filter(external_id__startswith="p-").order_by("number")
    ImportOrder.objects.bulk_create(
        ImportOrder(batch=batch, order=other, line=line_number, external_id=other.external_id or "")
        for line_number, other in enumerate(others, start=10)
    )
    Import.objects.update(total=MANY + 3, ok=MANY + 3, ways=None)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE orders_importorder, orders_import")
