"""Rotating a secret, a test, the list of deliveries and sending again: over HTTP, to a real server
that listens.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from notifications import events
from notifications.models import Delivery, Endpoint
from orders.models import ApiKey, Client
from tests.doubles.edges import WebhookSink
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)
Happen = Callable[..., None]


@pytest.fixture(autouse=True)
def development(settings: Any) -> None:
    """Plain http to this machine; and no rest, since time does not pass in `work_off`."""
    settings.WEBHOOK_ALLOW_LOCAL, settings.ENDPOINT_REST_S = True, 0.0


@pytest.fixture
def endpoint(shop: Client, sink: WebhookSink) -> Endpoint:
    return Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])


@pytest.fixture
def path(endpoint: Endpoint) -> str:
    return f"/v1/webhook-endpoints/{endpoint.pk}"


@pytest.fixture
def happen(shop: Client) -> Happen:
    """So many events, each of an order of its own, and all that follows from them."""

    def record(count: int = 1) -> None:
        for _ in range(count):
            with transaction.atomic():
                events.record(
                    "order.held",
                    subject=uuid4(),
                    seq=1,
                    owner=shop.pk,
                    data={"order": {"version": 1}},
                )
        work_off(ahead=2 * HOUR)

    return record


def post(api: Api, path: str, body: Any = None) -> Any:
    return (
        api.generic("POST", path)
        if body is None
        else api.post(path, body, content_type="application/json")
    )


def verifies(secret: str, heard: tuple[dict[str, str], bytes]) -> bool:
    try:
        Webhook(secret).verify(heard[1], heard[0])
    except WebhookVerificationError:
        return False
    return True


# --- rotate-secret --------------------------------------------------------------------------------


def test_for_a_day_the_old_secret_signs_beside_the_new_one(
    api: Api, path: str, endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    old = endpoint.secret
    answer = post(api, f"{path}/rotate-secret")
    new = answer.json()["secret"]
    assert (answer.status_code, new.startswith("whsec_"), new == old) == (200, True, False)
    assert "secret" not in api.get(path).json()
    happen()
    assert [verifies(secret, sink.heard[0]) for secret in (old, new)] == [True, True]
    signed = sink.heard[0][0]["webhook-signature"].split()
    assert [one.partition(",")[0] for one in signed] == ["v1", "v1", "v1a", "v1a"]
    Endpoint.objects.update(secret_ends=[timezone.now()])
    happen()
    assert [verifies(secret, sink.heard[1]) for secret in (old, new)] == [False, True]


def test_rotating_again_at_once_loses_no_receiver(
    api: Api, path: str, endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    """A lost answer, or a second click; up to a limit, since each secret is a signature in each
    webhook.
    """
    settings.WEBHOOK_SECRETS_MAX = 3
    first = endpoint.secret
    second, third = (post(api, f"{path}/rotate-secret").json()["secret"] for _ in range(2))
    refused = post(api, f"{path}/rotate-secret")
    assert (refused.status_code, refused["Content-Type"]) == (409, "application/problem+json")
    happen()
    assert [verifies(secret, sink.heard[0]) for secret in (first, second, third)] == [True] * 3
    assert post(api, f"{path}/rotate-secret", {"overlap_s": 0}).status_code == 200, (
        "it may always leak"
    )


def test_a_secret_that_leaked_ends_at_once(
    api: Api, path: str, endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    old, older = post(api, f"{path}/rotate-secret").json()["secret"], endpoint.secret
    new = post(api, f"{path}/rotate-secret", {"overlap_s": 0}).json()["secret"]
    happen()
    assert [verifies(secret, sink.heard[0]) for secret in (older, old, new)] == [False, False, True]


# --- test -----------------------------------------------------------------------------------------


def test_a_test_is_signed_and_goes_the_ordinary_way(
    api: Api, path: str, endpoint: Endpoint, sink: WebhookSink
) -> None:
    Endpoint.objects.update(events=["order.confirmed"])
    answer = post(api, f"{path}/test")
    delivery = answer.json()
    assert (answer.status_code, delivery["state"], delivery["event"]["type"]) == (
        202,
        "waiting",
        "webhook.test",
    )
    assert Job.objects.get().task == "notifications.tasks.post_webhook"
    assert post(api, f"{path}/test").json()["id"] == delivery["id"], (
        "a second click is the same test"
    )
    work_off()
    [(headers, body)] = sink.heard
    heard = Webhook(endpoint.secret).verify(body, headers)
    assert (headers["webhook-id"], heard["type"]) == (delivery["id"], "webhook.test")
    assert heard["data"]["endpoint"]["id"] == str(endpoint.pk)
    read = api.get(answer["Location"]).json()
    assert (read["state"], read["tries"], read["last_answer"]["status"]) == ("delivered", 1, 200)
    assert post(api, f"{path}/test").json()["event"]["seq"] == 2


def test_a_test_is_tried_once_and_says_at_once_what_came_back(
    api: Api, path: str, endpoint: Endpoint, sink: WebhookSink, settings: Any
) -> None:
    settings.ENDPOINT_REST_S = 60.0
    Endpoint.objects.update(
        failures=3, resting_until=timezone.now() + HOUR, line_until=timezone.now() + HOUR
    )
    sink.answers = [503]
    location = post(api, f"{path}/test")["Location"]
    work_off()
    read = api.get(location).json()
    assert (read["state"], read["tries"], read["next_try_at"]) == ("failed", 1, None)
    assert (read["last_answer"]["ok"], read["last_answer"]["status"]) == (False, 503)
    post(api, f"{path}/test")
    work_off(ahead=HOUR)
    endpoint.refresh_from_db()
    assert (len(sink.heard), endpoint.failures) == (2, 0), "a test that arrives ends the rest"


# --- deliveries -----------------------------------------------------------------------------------


def test_deliveries_are_listed_newest_first_with_their_last_answer(
    api: Api, path: str, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.DELIVERY_MAX_TRIES = 2
    sink.answers = [500, 404, 200, 429]
    happen(3)
    listed = api.get(f"{path}/deliveries").json()
    assert listed["next"] is None
    deliveries = [
        (one["state"], one["tries"], one["last_answer"]["status"]) for one in listed["data"]
    ]
    assert sorted(deliveries) == [("delivered", 1, 200), ("delivered", 2, 200), ("failed", 2, 429)]
    ids = [one["id"] for one in listed["data"]]
    assert ids == [str(pk) for pk in Delivery.objects.order_by("-pk").values_list("pk", flat=True)]
    assert listed["data"][0]["event"]["type"] == "order.held"


def test_each_try_says_what_was_sent_what_came_back_and_how_long_it_took(
    api: Api, path: str, sink: WebhookSink, happen: Happen
) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sink.answers, sink.body = [500], "鮭 売切\0\x1b[2J".encode() + b"\xff" + b"x" * 5000
    with context.bound(traceparent=traceparent):
        happen()
    delivery = Delivery.objects.get()
    read = api.get(f"{path}/deliveries/{delivery.pk}").json()
    second, first = read["attempts"]
    assert [(one["ok"], one["status"]) for one in (first, second)] == [(False, 500), (True, 200)]
    assert [one["request_headers"] for one in (first, second)] == [heard for heard, _ in sink.heard]
    assert second["request_headers"]["traceparent"] == traceparent
    assert first["body"] == second["body"]
    assert second["body"] == "鮭 売切\ufffd\x1b[2J\ufffd" + "x" * (4096 - 16)
    assert all(0 <= one["duration_ms"] < 60_000 for one in (first, second))
    assert read["last_answer"].items() <= second.items()


def test_an_endpoint_has_headers_of_its_own_and_no_try_keeps_what_they_say(
    api: Api, path: str, sink: WebhookSink, happen: Happen
) -> None:
    own = {"authorization": "Bearer s3cret", "x-shop": "edo"}
    changed = api.patch(path, {"headers": own}, content_type="application/json")
    assert (changed.status_code, changed.json()["headers"]) == (200, own)
    happen()
    [(heard, _)] = sink.heard
    assert heard.items() >= own.items()
    sent = api.get(f"{path}/deliveries/{Delivery.objects.get().pk}").json()["attempts"][0]
    assert sent["request_headers"] == {**heard, **dict.fromkeys(own, "…")}
    without = api.patch(path, {"headers": {}}, content_type="application/json")
    assert without.json()["headers"] == {}


def test_of_many_tries_the_last_ones_are_shown(
    api: Api, path: str, happen: Happen, settings: Any
) -> None:
    settings.DELIVERY_ATTEMPTS_SHOWN = 2
    happen()
    delivery = Delivery.objects.get()
    for number in range(3):
        delivery.attempts.create(ok=False, answer=f"of a release before, {number}")
    attempts = api.get(f"{path}/deliveries/{delivery.pk}").json()["attempts"]
    assert [one["said"][-1] for one in attempts] == ["2", "1"]
    assert {one["duration_ms"] for one in attempts} == {None}


def test_pages_of_deliveries_are_complete_narrowed_and_cost_the_same_queries(
    api: Api, path: str, happen: Happen
) -> None:
    happen(7)
    some = [row.pk for row in Delivery.objects.order_by("pk")[:2]]
    Delivery.objects.filter(pk__in=some).update(state="failed", delivered_at=None)
    seen: list[str] = []
    api.get(f"{path}/deliveries")  # a key's first use is noted
    after, costs = "", set()
    while after is not None:
        with CaptureQueriesContext(connection) as asked:
            listed = api.get(
                f"{path}/deliveries?limit=3" + (f"&after={after}" if after else "")
            ).json()
        costs.add(len(asked))
        seen += [one["id"] for one in listed["data"]]
        after = listed["next"]
    assert (len(seen), len(set(seen)), len(costs)) == (7, 7, 1)
    failed = api.get(f"{path}/deliveries?state=failed").json()["data"]
    assert {one["id"] for one in failed} == {str(pk) for pk in some}
    refused = [
        api.get(f"{path}/deliveries?{wrong}") for wrong in ("state=eaten", "after=x", "limit=0")
    ]
    assert [answer.status_code for answer in refused] == [422] * 3


# --- replay ---------------------------------------------------------------------------------------


def since(moment: Any, **others: Any) -> dict[str, Any]:
    return {"since": moment.isoformat(), **others}


def test_what_failed_is_sent_again_under_its_id_in_the_bulk_queue_and_asking_twice_does_no_harm(
    api: Api, path: str, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.DELIVERY_MAX_TRIES, settings.BATCH_ROWS = 1, 2
    began = timezone.now()
    sink.answers = [500] * 5
    happen(5)
    ids = {headers["webhook-id"] for headers, _ in sink.heard}
    happen()  # one that arrives, and is not sent again
    answers = [post(api, f"{path}/replay", since(began)) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (202, {"deliveries": 5, "more": False}),
        (202, {"deliveries": 0, "more": False}),
    ]
    before = len(sink.heard)
    work_off(ahead=HOUR)
    again = [headers["webhook-id"] for headers, _ in sink.heard[before:]]
    assert (sorted(again), len(again)) == (sorted(ids), 5)
    assert set(Delivery.objects.values_list("state", "resend")) == {("delivered", False)}
    resent = Job.objects.filter(pk__in=Delivery.objects.exclude(resent_at=None).values("job"))
    assert set(resent.values_list("queue", "state")) == {(ledger_settings.BULK_QUEUE, "done")}


def test_everything_since_a_time_is_sent_again_but_not_twice_in_a_row(
    api: Api, path: str, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    happen()
    Delivery.objects.update(created_at=timezone.now() - HOUR)
    happen(2)
    post(api, f"{path}/test")
    work_off()
    period = since(timezone.now() - HOUR / 2, state="all")
    assert post(api, f"{path}/replay", period).json()["deliveries"] == 2
    work_off(ahead=HOUR)
    assert post(api, f"{path}/replay", period).json()["deliveries"] == 0
    assert len(sink.heard) == 6
    Delivery.objects.exclude(resent_at=None).update(
        resent_at=timezone.now() - settings.WEBHOOK_REPLAY_REST
    )
    assert post(api, f"{path}/replay", period).json()["deliveries"] == 2


def test_a_call_sends_so_many_again_and_says_when_there_are_more(
    api: Api, path: str, happen: Happen, settings: Any
) -> None:
    settings.WEBHOOK_REPLAY_MAX = 2
    began = timezone.now()
    happen(3)
    calls = [post(api, f"{path}/replay", since(began, state="all")).json() for _ in range(3)]
    assert [(call["deliveries"], call["more"]) for call in calls] == [
        (2, True),
        (1, False),
        (0, False),
    ]


def test_a_delivery_that_is_sent_again_has_all_its_tries_and_all_its_days(
    api: Api, path: str, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.DELIVERY_MAX_TRIES = 2
    sink.answers = [500] * 3
    happen()
    assert Delivery.objects.get().state == "failed"
    Delivery.objects.update(created_at=timezone.now() - 10 * settings.DELIVERY_MAX_AGE)
    assert (
        post(
            api, f"{path}/replay", since(timezone.now() - 11 * settings.DELIVERY_MAX_AGE)
        ).status_code
        == 202
    )
    work_off(ahead=HOUR)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries, delivery.attempts.count()) == ("delivered", 2, 4)


def test_a_job_of_before_brings_nothing_once_the_delivery_has_a_new_one(
    api: Api, path: str, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.DELIVERY_MAX_TRIES = 1
    began = timezone.now()
    sink.answers = [500]
    happen()
    old = Job.objects.get(task="notifications.tasks.post_webhook")
    post(api, f"{path}/replay", since(began))
    attempt(Job.objects.get(task="notifications.tasks.resend"))
    Job.objects.filter(pk=old.pk).update(state="waiting", finished_at=None, due_at=began)
    attempt(old)
    assert (len(sink.heard), Delivery.objects.get().state) == (1, "waiting")
    work_off()
    assert (len(sink.heard), Delivery.objects.get().state) == (2, "delivered")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/since"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-01-31T09:00:00"}, "/since"),
        ({"since": 1}, "/since"),
        ({"since": "2026-01-31T09:00:00Z", "state": "waiting"}, "/state"),
        ({"since": "2026-01-31T09:00:00Z", "more": 1}, "/more"),
    ],
)
def test_a_wrong_field_of_a_replay_is_refused_by_name(
    api: Api, path: str, body: Any, pointer: str
) -> None:
    answer = post(api, f"{path}/replay", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


# --- whose ----------------------------------------------------------------------------------------


def test_a_stranger_finds_nothing_and_a_reader_changes_nothing(
    api: Api, shop: Client, path: str, endpoint: Endpoint, happen: Happen
) -> None:
    happen()
    delivery = Delivery.objects.get()
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    reader = Api(ApiKey.objects.issue(shop, ["webhooks:read"]))
    for verb, body in (("rotate-secret", None), ("test", None), ("replay", since(timezone.now()))):
        assert [post(key, f"{path}/{verb}", body).status_code for key in (stranger, reader)] == [
            404,
            403,
        ]
    for of in ("deliveries", f"deliveries/{delivery.pk}"):
        assert (
            stranger.get(f"{path}/{of}").status_code,
            reader.get(f"{path}/{of}").status_code,
        ) == (404, 200)
    other = Endpoint.objects.create(owner=shop.pk, url=endpoint.url, events=["*"])
    assert api.get(f"/v1/webhook-endpoints/{other.pk}/deliveries/{delivery.pk}").status_code == 404
    assert (Delivery.objects.count(), Endpoint.objects.get(pk=endpoint.pk).secret_version) == (1, 1)
