"""Click twice, at the same moment: one order, one answer."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from celery_ledger.models import Job
from orders.models import ApiKey, Client, Order
from tests.promises.processes import Stack

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
ROUNDS, CLICKS = 10, 4


def test_posts_with_one_key_at_the_same_moment_make_one_order_and_get_the_same_answer(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    key = ApiKey.objects.issue(shop, [])
    stock()
    web = stack.start_web()
    for index in range(ROUNDS):
        together = threading.Barrier(CLICKS)

        def click(
            _: int, index: int = index, together: threading.Barrier = together
        ) -> tuple[int, str, Any, str | None]:
            body = order_body(external_id=f"o-{index}")
            together.wait(timeout=10)
            status, answer, reply = web.ask(
                "POST",
                "/v1/orders",
                body,
                Authorization=f"Bearer {key}",
                Idempotency_Key=f"k-{index}",
            )
            return (
                status,
                answer.headers["Location"],
                reply,
                answer.headers["Idempotent-Replayed"],
            )

        with ThreadPoolExecutor(CLICKS) as hands:
            answers = list(hands.map(click, range(CLICKS)))
        assert [status for status, *_ in answers] == [202] * CLICKS
        assert len({location for _, location, *_ in answers}) == 1
        assert all(reply == answers[0][2] for _, _, reply, _ in answers)
        assert sorted(str(replayed) for *_, replayed in answers) == ["None"] + ["true"] * (
            CLICKS - 1
        )
    assert Order.objects.count() == ROUNDS
    assert Job.objects.filter(task="orders.tasks.reserve").count() == ROUNDS


@pytest.mark.soak
def test_a_different_order_under_the_same_external_id_at_the_same_moment_is_refused(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    key = ApiKey.objects.issue(shop, [])
    stock()
    web = stack.start_web()

    def click(hand: int) -> int:
        answer = web.ask(
            "POST",
            "/v1/orders",
            order_body(),
            Authorization=f"Bearer {key}",
            Idempotency_Key=f"k-{hand}",
        )
        return answer[0]

    with ThreadPoolExecutor(CLICKS) as hands:
        assert sorted(hands.map(click, range(CLICKS))) == [202, 409, 409, 409]
    assert Order.objects.count() == 1
