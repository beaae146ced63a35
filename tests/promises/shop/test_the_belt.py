"""An order from HTTP to a confirmed order and a told customer, with nothing replaced but the
outside world.
"""

import email
import email.policy
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks import Webhook

from celery_ledger.models import Job
from orders.models import ApiKey, Client
from tests.celery_ledger.errors import error_of
from tests.doubles.edges import Postbox, WebhookSink
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def test_an_order_is_confirmed_mailed_and_announced(
    stack: Stack, shop: Client, order_body: Callable[..., Any], sink: WebhookSink, postbox: Postbox
) -> None:
    web = stack.start_web()
    stack.start("worker", EMAIL_URL=f"smtp://127.0.0.1:{postbox.port}")
    key = {"Authorization": f"Bearer {ApiKey.objects.issue(shop, [])}"}
    assert web.ask("PUT", "/v1/stock/SAKE-NIGIRI", {"on_hand": 9, "name": "鮭"}, **key)[0] == 200
    _, _, endpoint = web.ask(
        "POST", "/v1/webhook-endpoints", {"url": sink.url, "events": ["*"]}, **key
    )

    status, answer, placed = web.ask("POST", "/v1/orders", order_body(), Idempotency_Key="k", **key)
    assert (status, answer.headers["Location"]) == (202, placed["links"]["self"])

    def order() -> Any:
        return web.ask("GET", placed["links"]["self"], **key)[2]

    until(lambda: order()["state"] == "confirmed", "the order is confirmed", within_s=30)
    until(
        lambda: len(sink.heard) == 3 and len(postbox.mails) == 2, "everybody is told", within_s=30
    )

    assert (
        order()["payment_state"],
        web.ask("GET", "/v1/stock/SAKE-NIGIRI", **key)[2]["available"],
    ) == ("paid", 7)
    events = [Webhook(endpoint["secret"]).verify(body, headers) for headers, body in sink.heard]
    assert {event["type"] for event in events} == {
        "order.received",
        "order.reserved",
        "order.confirmed",
    }
    subjects = {
        email.message_from_bytes(raw, policy=email.policy.default)["Subject"]
        for raw in postbox.mails
    }
    number = placed["number"]
    assert subjects == {f"ご注文 {number} を受け付けました", f"ご注文 {number} が確定しました"}


@pytest.mark.soak
def test_work_promised_in_a_shell_is_done_by_the_next_worker(stack: Stack, shop: Client) -> None:
    """`manage.py shell` has every task imported, and the job is durable before the command ends."""
    stack.run("manage.py", "shell", "-c", "print(hold_order.apply_async(('not-a-uuid', 'x')).id)")
    stack.start("worker")

    def dead() -> bool:
        return Job.objects.filter(task="orders.tasks.hold_order", state="dead").exists()

    until(dead, "the job has its verdict", within_s=30)
    assert "not-a-uuid" in error_of(Job.objects.get())["message"]
