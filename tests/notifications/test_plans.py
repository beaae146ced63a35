"""Which way Postgres goes to the deliveries of an endpoint with a past, by how many pages it looks
at.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from notifications.events import KINDS
from notifications.models import Delivery, Endpoint, Event
from notifications.models.event import BEGINNING
from notifications.oversight.trouble import troubles
from orders.models import Client
from tests.postgres.plans import plans_of
from values.ids import first_id

pytestmark = pytest.mark.django_db(transaction=True)

PAST = 20_000  # deliveries, a second apart: one in 200 to our endpoint, one in 1,000 failed
# pages of Postgres that a page of deliveries takes, with their events, attempts and jobs
A_PAGE = 220
PER_ROW = 40  # pages to write a row and its place in each index
PER_FORGOTTEN = 3  # pages to find a row, or to delete it
A_LOOK = 20  # pages to see that there is nothing to do
FILL = """
WITH past AS (
    SELECT n, now() - (%(past)s - n) * interval '1 s' AS at,
           (lpad(to_hex((extract(epoch FROM now() - (%(past)s - n) * interval '1 s') * 1000
                        )::bigint), 12, '0')
            || '7000' || lpad(to_hex(n), 16, '8'))::uuid AS id
      FROM generate_series(1, %(past)s) AS n),
 events AS (
    INSERT INTO notifications_event (id, kind, subject, seq, owner, data, at)
    SELECT id, 'order.held', id, 1, %(owner)s, '{}', at FROM past)
INSERT INTO notifications_delivery (id, event_id, channel, target, endpoint_id,
                                    state, tries, created_at, delivered_at)
SELECT id, id, 'webhook', target::text, target,
       CASE mod(n, 1000) WHEN 0 THEN 'failed' ELSE 'delivered' END, 1, at,
       CASE mod(n, 1000) WHEN 0 THEN NULL ELSE at END
  FROM past, LATERAL (
       SELECT CASE mod(n, 200) WHEN 0 THEN %(ours)s::uuid ELSE %(another)s::uuid END AS target
       ) AS told
"""

# ten of each order, and as many again of one sku: all wait, and nobody vacuums or counts
FILL_IN_ORDER = """
INSERT INTO notifications_delivery
       (id, event_id, channel, target, endpoint_id, state, tries, job, subject, seq)
SELECT gen_random_uuid(), gen_random_uuid(), 'webhook', '', %(endpoint)s, 'waiting', 0,
       gen_random_uuid(), subject::uuid, seq
  FROM generate_series(0, %(half)s - 1) AS n, LATERAL (
       SELECT overlay(%(zero)s PLACING lpad(to_hex(n / 10), 8, '0') FROM 29), mod(n, 10) + 1
       UNION ALL SELECT %(sku)s, n + 1) AS of (subject, seq)
"""
SKU = UUID(int=2**128 - 1)


@pytest.fixture
def endpoint(shop: Client) -> Endpoint:
    url = "https://example.com/hook"
    ours, another = (
        Endpoint.objects.create(owner=shop.pk, url=url, events=["*"]) for _ in range(2)
    )
    with connection.cursor() as cursor:
        # foreign keys are sound here
        cursor.execute("ALTER TABLE notifications_delivery DISABLE TRIGGER ALL")
        cursor.execute(
            FILL, {"past": PAST, "owner": shop.pk, "ours": ours.pk, "another": another.pk}
        )
        cursor.execute("ALTER TABLE notifications_delivery ENABLE TRIGGER ALL")
        cursor.execute("VACUUM ANALYZE notifications_delivery")
        cursor.execute("VACUUM ANALYZE notifications_event")
    return ours


def ways(do: Callable[[], Any], *, within: int) -> set[str]:
    """By which indexes it comes to deliveries, no statement looking at more pages than that."""
    plans = plans_of(do)
    assert [(plan.buffers, plan.nodes) for plan in plans if plan.buffers > within] == []
    return {
        word
        for plan in plans
        for node in plan.nodes
        if (word := node.split()[-1]).startswith("delivery_")
    }


def test_a_page_of_deliveries_and_what_is_left_to_do_are_found_without_a_walk(
    endpoint: Endpoint,
) -> None:
    of_endpoint = Delivery.objects.of_endpoint(endpoint.pk)
    middle = Delivery.objects.order_by("-pk")[PAST // 2].pk
    assert ways(lambda: list(of_endpoint[:21]), within=A_PAGE) == {"delivery_of_endpoint"}
    assert ways(lambda: list(of_endpoint.filter(pk__lt=middle)[:21]), within=A_PAGE) == {
        "delivery_of_endpoint"
    }
    for state in ("waiting", "failed"):
        found = of_endpoint.filter(state=state)
        assert ways(partial(list, found[:21]), within=A_PAGE) == {"delivery_undelivered"}, state
    queue = partial(Delivery.objects.in_line, endpoint.pk, after=None, limit=200)
    assert ways(queue, within=A_PAGE) == {"delivery_undelivered"}


def test_sending_again_looks_at_what_is_to_be_sent_and_at_nothing_else(endpoint: Endpoint) -> None:
    since = timezone.now() - timedelta(days=1)
    failed = PAST // 1000
    asked: list[Any] = []
    again: list[Any] = []
    chosen = Delivery.objects.retryable(since=since).filter(endpoint=endpoint)
    ask = partial(Delivery.objects.ask_again, chosen)
    of_failed = {"delivery_undelivered", "delivery_in_trouble"}
    assert ways(lambda: asked.append(ask()), within=failed * PER_ROW) <= of_failed
    begin = partial(Delivery.objects.begin_again, endpoint.pk, after=first_id(since), limit=failed)
    marked = Delivery.objects.filter(endpoint=endpoint, resend=True)
    assert ways(marked.put_in_order, within=failed * PER_ROW) == {"delivery_asked_for"}
    with transaction.atomic():
        assert ways(lambda: again.extend(begin()), within=failed * PER_ROW) == {
            "delivery_asked_for"
        }
    assert (asked, len(again)) == ([(failed, False)], failed)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("waiting", [PAST, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_whom_a_delivery_comes_after_and_whom_it_brings_are_found_without_a_walk(
    shop: Client, waiting: int
) -> None:
    url = "https://example.com/hook"
    endpoint = Endpoint.objects.create(owner=shop.pk, url=url, events=["*"], ordered=True)
    values: dict[str, Any] = {
        "endpoint": endpoint.pk,
        "half": waiting // 2,
        "zero": str(UUID(int=0)),
        "sku": str(SKU),
    }
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET transaction_timeout = 0")  # a slow disk
        cursor.execute("ALTER TABLE notifications_delivery DISABLE TRIGGER ALL")
        cursor.execute(FILL_IN_ORDER, values)
        cursor.execute("ALTER TABLE notifications_delivery ENABLE TRIGGER ALL")
        cursor.execute("RESET statement_timeout; RESET transaction_timeout")
    rows = Delivery.objects.select_related("endpoint")
    for last in (rows.get(subject=UUID(int=7), seq=10), rows.get(subject=SKU, seq=waiting // 2)):
        first = rows.get(subject=last.subject, seq=1)
        ahead: list[Any] = []
        look = partial(lambda one, seen: seen.append(Delivery.objects.ahead_of(one)), last, ahead)
        assert ways(look, within=A_LOOK) == {"delivery_in_order"}
        assert ahead == [first]
        with transaction.atomic():
            hold = partial(Delivery.objects.hold_back, last)  # its page may have no room for it
            assert "delivery_in_order" in ways(hold, within=2 * PER_ROW)
            Delivery.objects.filter(pk=first.pk).update(state="failed")
            bring = partial(Delivery.objects.bring_next, first)
            assert ways(bring, within=A_LOOK) == {"delivery_in_order"}


def test_what_does_not_arrive_is_found_without_a_walk_and_what_arrives_is_in_no_way_of_it(
    endpoint: Endpoint,
) -> None:
    found: list[Any] = []
    failed = PAST // 1000
    used = ways(lambda: found.append(troubles()), within=failed * PER_ROW)
    assert used == {"delivery_in_trouble"}
    assert sum(trouble.given_up for trouble in found[0]) == failed
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size('delivery_in_trouble') / 8192")
        assert cursor.fetchone()[0] <= 2, "of 20,000 only those are in it"


@pytest.mark.parametrize("kinds", [list(KINDS), ["order.held"], ["order.paid"]])
def test_a_page_of_events_is_read_in_its_order_wherever_it_begins(
    endpoint: Endpoint, kinds: list[str]
) -> None:
    """Also of kinds that there are none of. Those of releases before lie in the same index."""
    Event.objects.filter(pk__lt=Event.objects.order_by("pk")[PAST // 4].pk).update(recorded_at=None)
    middle = Event.objects.order_by("pk")[PAST // 2]
    for beyond in (BEGINNING, middle.place):
        ask = partial(Event.objects.feed, endpoint.owner, kinds, beyond=beyond, limit=101)
        *_, plan = plans_of(ask)
        assert (plan.buffers <= A_PAGE, "event_told" in str(plan.nodes)) == (True, True), plan


def test_a_batch_of_old_deliveries_is_forgotten_without_a_walk(
    endpoint: Endpoint, settings: Any
) -> None:
    """Over the young ones, and over those that were forgotten before and are not vacuumed yet."""
    limit = settings.BATCH_ROWS
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO notifications_attempt (delivery_id, ok, answer) "
            "SELECT id, true, 'answered 200' FROM notifications_delivery"
        )
        cursor.execute("VACUUM ANALYZE notifications_attempt")
    forgotten: list[int] = []
    forget = transaction.atomic(lambda: forgotten.append(Delivery.objects.forget_old(limit)))
    ways(forget, within=A_LOOK)
    settings.DELIVERY_KEEP = timedelta(0)
    for _ in range(5):
        ways(forget, within=limit * PER_FORGOTTEN)
    assert forgotten == [0, *[limit] * 5]
