"""What the staff pages cost with a million orders and a million jobs.

`bin/bench -k staff_pages` takes ten minutes. Buffers are pages of 8 kB that Postgres looked at; the
time is what the whole page takes in this process, which is worth as much as the machine is quiet.
"""

from functools import partial
from statistics import quantiles
from time import perf_counter
from typing import Any

import pytest
from django.db import connection
from django.test import Client as HttpClient

from celery_ledger import Job
from orders.models import Client, Order
from tests.bench.shop.million_orders import MILLION, fill
from tests.celery_ledger import past
from tests.postgres.plans import plans_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(3600)]
BUFFERS_MAX = 1000
TIMES = 20
BACKLOG = 20_000
PAGES = (
    "/ops/",
    "/ops/orders/",
    "/ops/orders/?held",
    "/ops/orders/?q=shop-900",
    "/ops/orders/{order}/",
    "/ops/orders/{order}/hold/",
    "/ops/jobs/",
    "/ops/jobs/?state=",
    "/ops/jobs/?state=done&task=orders.tasks.charge",
    "/ops/jobs/?state=waiting",
    "/ops/jobs/{job}/",
    "/ops/queues/",
    "/ops/told/",
    "/ops/told/deliveries/",
    "/ops/actions/",
)


def test_staff_pages_among_a_million(shop: Client, stock: Any, django_user_model: Any) -> None:
    fill(shop, stock("HOT"))
    past.finish(MILLION)
    past.promise(BACKLOG, due="-1 h", rings="100 s")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE celery_ledger_job")
    client = HttpClient()
    client.force_login(django_user_model.objects.create_superuser("hana"))
    dead = Job.objects.filter(state="dead").order_by("-created_at").first()
    names = {"order": Order.objects.latest("pk").pk, "job": dead and dead.pk}
    print(f"\n{'buffers':>8} {'p50 ms':>8} {'p95 ms':>8} {'kB':>6}")
    dear = []
    for page in PAGES:
        path = page.format(**names)
        assert client.get(path, follow=True).status_code == 200, path
        buffers = sum(plan.buffers for plan in plans_of(partial(client.get, path)))
        times = [time_of(client, path) for _ in range(TIMES)]
        size = len(client.get(path, follow=True).content) / 1000
        p50, p95 = quantiles(times, n=20)[9], quantiles(times, n=20)[18]
        print(f"{buffers:8} {p50:8.0f} {p95:8.0f} {size:6.0f}   {page}")
        if buffers > BUFFERS_MAX:
            dear.append((page, buffers))
    assert dear == []


def time_of(client: HttpClient, path: str) -> float:
    """In ms."""
    begin = perf_counter()
    client.get(path)
    return (perf_counter() - begin) * 1000
