"""/v1/jobs: lists, and a client's say in its own jobs."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from redis import Redis

from celery_ledger import context
from celery_ledger.models import Job, State
from celery_ledger.testing import work_off
from orders.models import ApiKey, Client
from tests.celery_ledger import tasks
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
ADD = "tests.celery_ledger.tasks.add"


@pytest.fixture
def stranger(db: None) -> Client:
    return Client.objects.create(name="stranger")


def promised(client: Client | None, state: State = State.WAITING) -> Job:
    """A job that a request of this client led to; the shop's own without one."""
    with context.bound(client=str(client.pk) if client else None):
        id_ = UUID(tasks.add.delay(1, 1).id)
    if state != State.WAITING:
        Job.objects.claim(
            [id_], task=ADD, token=uuid4(), worker=None, pid=1, lease=timedelta(seconds=40)
        )
    if state not in (State.WAITING, State.RUNNING):
        Job.objects.filter(pk=id_).update(state=state, lease_until=None, finished_at=timezone.now())
    return Job.objects.get(pk=id_)


def ids(page: dict[str, Any]) -> list[str]:
    return [job["id"] for job in page["data"]]


def test_jobs_are_listed_newest_first_in_the_shape_of_one(api: Api, shop: Client) -> None:
    old, new = promised(shop, State.DEAD), promised(shop)
    page = api.get("/v1/jobs").json()
    assert (ids(page), page["next"]) == ([str(new.pk), str(old.pk)], None)
    assert page["data"][1] == api.get(f"/v1/jobs/{old.pk}").json()
    assert set(page["data"][0]) == {
        "id",
        "task",
        "queue",
        "state",
        "attempts",
        "due_at",
        "created_at",
        "finished_at",
        "result",
        "error",
    }


def test_pages_follow_each_other_without_a_gap_or_a_repeat(api: Api, shop: Client) -> None:
    """Also when jobs are of the same moment, and when new ones come in between."""
    for _ in range(5):
        promised(shop)
    Job.objects.update(created_at=timezone.now())
    listed = [str(pk) for pk in Job.objects.order_by("-pk").values_list("pk", flat=True)]
    seen, cursor = [], ""
    for size in (2, 2, 1):
        page = api.get(f"/v1/jobs?limit=2{cursor}").json()
        assert len(page["data"]) == size
        seen += ids(page)
        cursor = f"&after={page['next']}"
        promised(shop)
    assert (seen, page["next"]) == (listed, None)


def test_a_page_that_is_just_full_is_the_last(api: Api, shop: Client) -> None:
    promised(shop), promised(shop)
    assert api.get("/v1/jobs?limit=2").json()["next"] is None
    for _ in range(20):
        promised(shop)
    assert len(api.get("/v1/jobs").json()["data"]) == 20


def test_a_list_is_narrowed_by_state_and_task(api: Api, shop: Client) -> None:
    dead, waiting = promised(shop, State.DEAD), promised(shop)
    with context.bound(client=str(shop.pk)):
        note = tasks.note.delay("x").id
    assert ids(api.get("/v1/jobs?state=dead").json()) == [str(dead.pk)]
    assert ids(api.get(f"/v1/jobs?state=waiting&task={ADD}").json()) == [str(waiting.pk)]
    assert ids(api.get("/v1/jobs?task=tests.celery_ledger.tasks.note").json()) == [note]
    assert api.get("/v1/jobs?task=none").json() == {"data": [], "next": None}


def test_a_list_shows_own_jobs_and_the_shops_but_no_strangers(
    api: Api, shop: Client, stranger: Client
) -> None:
    own, _, house = promised(shop), promised(stranger), promised(None)
    assert ids(api.get("/v1/jobs").json()) == [str(house.pk), str(own.pk)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("limit=101", "/query/limit"),
        ("limit=many", "/query/limit"),
        ("state=resting", "/query/state"),
        ("state=", "/query/state"),
        ("after=", "/query/after"),
        ("after=nonsense", "/query/after"),
        ("after=%E5%9B%9E", "/query/after"),
        ("after=1.x", "/query/after"),
        ("after=01980000-0000-7000-8000-000000000000", "/query/after"),
        # beyond the calendar
        (f"after={'9' * 17}.01980000-0000-7000-8000-000000000000", "/query/after"),
        ("after=-1.01980000-0000-7000-8000-000000000000", "/query/after"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(api: Api, query: str, pointer: str) -> None:
    response = api.get(f"/v1/jobs?{query}")
    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_a_place_in_time_that_we_have_not_handed_out_is_one_all_the_same(
    api: Api, shop: Client
) -> None:
    job = promised(shop)
    for microseconds, found in (("9" * 16, [str(job.pk)]), ("0", [])):
        assert ids(api.get(f"/v1/jobs?after={microseconds}.{uuid4()}").json()) == found


@pytest.mark.parametrize("state", [State.DEAD, State.CANCELLED])
def test_a_client_retries_its_own_job(api: Api, shop: Client, broker: Redis, state: State) -> None:
    job = promised(shop, state)
    broker.flushdb()
    response = api.post(f"/v1/jobs/{job.pk}/retry")
    assert (response.status_code, response.json()["id"]) == (200, str(job.pk))
    assert (response.json()["state"], response.json()["finished_at"]) == ("waiting", None)
    assert (Job.objects.get().state, broker.llen("kaiten")) == ("waiting", 1)


def test_a_client_cancels_its_own_job(api: Api, shop: Client) -> None:
    job = promised(shop)
    response = api.post(f"/v1/jobs/{job.pk}/cancel")
    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert response.json()["error"] == {"type": "Cancelled", "message": f"by client {shop.pk}"}
    assert Job.objects.get().state == "cancelled"


def test_a_client_does_not_cancel_what_something_would_be_lost_without(
    api: Api, shop: Client
) -> None:
    with context.bound(client=str(shop.pk)):
        tasks.note.delay("x")
    job = Job.objects.get()
    refused = api.post(f"/v1/jobs/{job.pk}/cancel")
    assert (refused.status_code, Job.objects.get().state) == (409, "waiting")
    assert (
        "is not cancelled by a client: something would be left undone" in refused.json()["detail"]
    )


def test_what_the_shops_own_job_came_to_is_nobodys_to_read(api: Api, shop: Client) -> None:
    """Its error may name another client's customer, its result anything."""
    house, own = promised(None, State.DEAD), promised(shop, State.DEAD)
    Job.objects.update(error={"type": "E", "message": "m"}, result="r")
    for job in (
        api.get(f"/v1/jobs/{house.pk}").json(),
        api.get("/v1/jobs?state=dead").json()["data"][1],
    ):
        assert (job["id"], job["error"], job["result"]) == (str(house.pk), None, None)
    job = api.get(f"/v1/jobs/{own.pk}").json()
    assert (job["error"], job["result"]) == ({"type": "E", "message": "m"}, "r")


def test_an_error_keeps_no_address(api: Api, shop: Client) -> None:
    text = (
        "SMTPRecipientsRefused: {'a.customer@example.com': (550, "
        "b'no such user')} at smtp://user:pass@mail.example"
    )
    with context.bound(client=str(shop.pk)):
        tasks.fail_with.delay(text)
    work_off()
    job = Job.objects.get()
    message = api.get(f"/v1/jobs/{job.pk}").json()["error"]["message"]
    assert message == (
        "SMTPRecipientsRefused: {[hidden]': (550, b'no such user')} at smtp://[hidden]@mail.example"
    )
    assert "customer" not in str(job.error) + str(job.history)


@pytest.mark.parametrize(
    ("verb", "state", "sentence"),
    [
        ("retry", State.DONE, "is done, and what it did is not done again."),
        ("retry", State.RUNNING, "is running; see first how it ends."),
        ("retry", State.WAITING, "is waiting already."),
        ("cancel", State.RUNNING, "is running and ends by itself."),
        ("cancel", State.DONE, "is done already."),
        ("cancel", State.DEAD, "is dead already."),
        ("cancel", State.CANCELLED, "is cancelled already."),
    ],
)
def test_a_state_that_does_not_allow_it_is_a_conflict(
    api: Api, shop: Client, verb: str, state: State, sentence: str
) -> None:
    job = promised(shop, state)
    before = Job.objects.values().get()
    response = api.post(f"/v1/jobs/{job.pk}/{verb}")
    assert (response.status_code, response["Content-Type"]) == (409, "application/problem+json")
    assert response.json()["detail"] == f"Job {job.pk} ({ADD}) {sentence}"
    assert Job.objects.values().get() == before


@pytest.mark.parametrize(("verb", "state"), [("retry", State.DEAD), ("cancel", State.WAITING)])
def test_nobody_touches_the_jobs_of_the_shop_or_of_strangers(
    api: Api, stranger: Client, verb: str, state: State
) -> None:
    for job in (promised(stranger, state), promised(None, state)):
        assert api.post(f"/v1/jobs/{job.pk}/{verb}").status_code == 404
        assert Job.objects.get(pk=job.pk).state == state
    assert api.post(f"/v1/jobs/{uuid4()}/{verb}").status_code == 404


def test_each_verb_needs_its_scope(shop: Client) -> None:
    job = promised(shop)
    reader, writer = (
        Api(ApiKey.objects.issue(shop, [scope])) for scope in ("jobs:read", "jobs:write")
    )
    assert (reader.get("/v1/jobs").status_code, writer.get("/v1/jobs").status_code) == (200, 403)
    for verb in ("retry", "cancel"):
        refused = reader.post(f"/v1/jobs/{job.pk}/{verb}")
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/missing-scope")
    assert Job.objects.get().state == "waiting"
    assert writer.post(f"/v1/jobs/{job.pk}/cancel").status_code == 200
