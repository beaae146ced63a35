"""The worst, between any two lines that matter: killed, stopped, an exception, a cut connection to
Postgres.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from celery_ledger.failpoints import At
from celery_ledger.models import FINISHED, Job
from orders.models import ApiKey, Client, Order
from tests.promises import tasks
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
WORKER = ("worker", "--include", "tests.promises.tasks", "--concurrency", "1")
RARELY = pytest.mark.soak  # the others stand for them at every push
IN_AN_ATTEMPT = [
    At.BEFORE_COMMIT,
    pytest.param(At.AFTER_CLAIM, marks=RARELY),
    pytest.param(At.AFTER_EXTERNAL, marks=RARELY),
    pytest.param(At.AFTER_COMMIT, marks=RARELY),
    pytest.param(At.BEFORE_VERDICT, marks=RARELY),
    pytest.param(At.AFTER_VERDICT, marks=RARELY),
]
# an exception there is the body's own
DEADLY = [At.AFTER_CLAIM, At.AFTER_EXTERNAL, At.BEFORE_COMMIT]
IN_A_REQUEST = [
    At.AFTER_PROMISE,
    *(pytest.param(place, marks=RARELY) for place in (At.BEFORE_RING, At.AFTER_RING)),
]


class Failpoints:
    """Orders for whoever passes a place next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set(self, place: At, action: str) -> Callable[[], bool]:
        """Returns a question: has somebody passed there?"""
        draft, order = self.folder / "draft", self.folder / place
        draft.write_text(action)
        draft.rename(order)
        return lambda: not order.exists()


@pytest.fixture
def failpoints(stack: Stack, tmp_path: Path) -> Failpoints:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    stack.environment["FAILPOINTS"] = str(folder)
    return Failpoints(folder)


@pytest.mark.soak
@pytest.mark.parametrize("place", IN_AN_ATTEMPT)
def test_an_attempt_that_fails_anywhere_has_its_effects_exactly_if_it_is_done(
    stack: Stack, failpoints: Failpoints, tally: Callable[[], Counter[int]], place: At
) -> None:
    """Invariant I2, line by line. A stopped process is killed by its parent when time is up."""
    stack.start(*WORKER)
    for number, action in enumerate(("kill", "stop", "raise", "drop")):
        reached = failpoints.set(place, action)
        job = Job.objects.filter(pk=tasks.tally_at_second_try.delay(number).id)
        until(reached, f"{action} {place}", within_s=30)
        until(
            job.filter(state__in=FINISHED).exists,
            f"the job has ended after {action} {place}",
            within_s=60,
        )
        expected = "dead" if action == "raise" and place in DEADLY else "done"
        assert (action, job.get().state, tally()[number]) == (
            action,
            expected,
            int(expected == "done"),
        )


@pytest.mark.parametrize("place", IN_A_REQUEST)
def test_a_request_that_fails_anywhere_is_one_order_when_it_is_repeated(
    stack: Stack,
    failpoints: Failpoints,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    place: At,
) -> None:
    """Invariants I1 and I12, line by line."""
    stock()
    key, web = ApiKey.objects.issue(shop, []), stack.start_web()
    stack.start(*WORKER)
    for action in ("kill", "raise", "drop"):
        headers = {"Authorization": f"Bearer {key}", "Idempotency_Key": action}
        body = order_body(external_id=action)

        def is_taken(sent: Any = body, named: dict[str, str] = headers) -> bool:
            try:
                return web.ask("POST", "/v1/orders", sent, **named)[0] == 202
            except (OSError, ValueError):
                return False

        reached = failpoints.set(place, action)
        until(is_taken, f"the order is taken despite {action} {place}", within_s=60)
        assert reached()
    until(
        lambda: Order.objects.filter(state="confirmed").count() == 3,
        "all are confirmed",
        within_s=60,
    )
    taken = Order.objects.order_by("external_id").values_list("external_id", flat=True)
    assert list(taken) == ["drop", "kill", "raise"]
    assert Job.objects.filter(task="orders.tasks.reserve").count() == 3


@pytest.mark.soak
@pytest.mark.parametrize(
    "action", ["raise", *(pytest.param(action, marks=RARELY) for action in ("kill", "drop"))]
)
def test_a_rescue_that_fails_in_the_middle_is_made_once(
    stack: Stack, failpoints: Failpoints, tally: Callable[[], Counter[int]], action: str
) -> None:
    first = stack.start(*WORKER)
    reached = failpoints.set(At.AFTER_CLAIM, "kill"), failpoints.set(At.BEFORE_RESCUE, action)
    job = Job.objects.filter(pk=tasks.tally_at_second_try.delay(1).id)
    until(lambda: all(one() for one in reached), "the rescue fails", within_s=30)
    if action == "kill":
        first.process.wait(timeout=10)
        stack.start(*WORKER)
    until(job.filter(state="done").exists, "the job is done", within_s=60)
    assert (job.get().losses, tally()) == (1, Counter([1]))


@pytest.mark.soak
@pytest.mark.parametrize(
    "action", ["raise", *(pytest.param(action, marks=RARELY) for action in ("kill", "drop"))]
)
def test_bells_that_were_noted_and_never_rung_are_rung_by_another_clock(
    stack: Stack,
    failpoints: Failpoints,
    broker: Redis,
    tally: Callable[[], Counter[int]],
    action: str,
) -> None:
    job = Job.objects.filter(pk=tasks.tally_at_second_try.delay(1).id)
    broker.flushdb()
    reached = failpoints.set(At.BEFORE_RING_AGAIN, action)
    first = stack.start(*WORKER)
    until(reached, "the clock has noted a bell and not rung it", within_s=30)
    if action == "kill":
        first.process.wait(timeout=10)
        stack.start(*WORKER)
    until(job.filter(state="done").exists, "the job is done", within_s=60)
    assert tally() == Counter([1])


def test_failpoints_are_off_in_production(stack: Stack, tmp_path: Path) -> None:
    stack.environment |= {"FAILPOINTS": str(tmp_path), "DEBUG": "1"}
    ask = ("-c", "from config import settings; print(settings.LEDGER['FAILPOINTS'])")
    assert stack.run(*ask).strip() == str(tmp_path)
    stack.environment["DEBUG"] = "0"
    assert stack.run(*ask).strip() == "None"
