"""What an order costs: jobs and statements, which are the same on every machine. They are bounds:
whoever needs one more says why here.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from notifications.models import Endpoint
from orders.models import Client
from tests.doubles.edges import WebhookSink
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]

# with BEGIN and COMMIT; a web process adds one look at its connection for each request
POST = 10
WORK = {
    "orders.tasks.reserve": 12,  # one asks for how long the shop sets goods aside
    "orders.tasks.charge": 16,  # two of them are the sandbox's own book
    "notifications.tasks.send_mail": 8,  # one asks how the shop is called, one who is listed
    "notifications.tasks.post_webhook": 7,
}


@pytest.fixture
def warm(
    api: Api, shop: Client, stock: Any, order_body: Body, sink: WebhookSink, settings: Any
) -> None:
    """Whatever a process looks up once, or now and then, it has."""
    settings.LEDGER = {**settings.LEDGER, "TURN_LOOK_S": 3600}
    stock()
    listen(shop, sink.url)
    api.place(order_body(external_id="warm"), key="warm")
    work_off()
    Job.objects.all().delete()
    Endpoint.objects.update(active=False)


def listen(shop: Client, url: str) -> None:
    """An endpoint that is well."""
    Endpoint.objects.create(owner=shop.pk, url=url, events=["*"], quick=True)


@pytest.mark.usefixtures("warm")
def test_an_order_is_taken_with_so_many_statements(api: Api, order_body: Body) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert api.place(order_body()).status_code == 202
    assert [query["sql"] for query in captured][POST:] == []


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("endpoints", [0, 1])
def test_an_order_is_confirmed_and_told_with_so_many_jobs_and_statements(
    api: Api, shop: Client, order_body: Body, sink: WebhookSink, endpoints: int
) -> None:
    for _ in range(endpoints):
        listen(shop, sink.url)
    api.place(order_body())
    jobs: Counter[str] = Counter()
    while job := Job.objects.filter(state="waiting", due_at__lte=timezone.now()).first():
        with CaptureQueriesContext(connection) as captured:
            attempt(job)
        jobs[job.task] += 1
        assert [query["sql"] for query in captured][WORK[job.task] :] == []
    assert jobs == Counter(
        {
            "orders.tasks.reserve": 1,
            "orders.tasks.charge": 1,
            "notifications.tasks.send_mail": 2,
            "notifications.tasks.post_webhook": 3 * endpoints,
        }
    )


def test_more_lines_and_more_endpoints_take_no_more_statements(
    api: Api, shop: Client, stock: Any, order_body: Body
) -> None:
    skus = [f"SKU-{number}" for number in range(20)]
    for sku in skus:
        stock(sku)
    for number in range(5):
        listen(shop, f"https://example.com/{number}")
    lines = [{"sku": sku, "quantity": 1, "unit_price": 100} for sku in skus]
    api.place(order_body(external_id="warm", lines=lines, total=2000), key="warm")
    with CaptureQueriesContext(connection) as captured:
        body = order_body(lines=lines, total=2000)
        assert api.place(body, key="twenty").status_code == 202
    assert [query["sql"] for query in captured][POST:] == []
