"""One event is one line, in every form, and tells nobody's data."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as HttpClient

from celery_ledger import context
from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from config.logs import Console, Json, Logfmt, configuration, quoted
from orders.models import Order
from tests.celery_ledger import tasks
from tests.shop import Api

PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)')
Entries = Callable[[str], list[dict[str, str]]]


def parsed(line: str) -> dict[str, str]:
    return {
        name: json.loads(value) if value.startswith('"') else value
        for name, value in PAIR.findall(line)
    }


@pytest.fixture
def stdout() -> Iterator[io.StringIO]:
    """What a dyno would print: every logger as `configuration` has it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Logfmt())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def entries(stdout: io.StringIO) -> Entries:
    """The entries of one logger so far, without what differs each time."""

    def of_logger(logger: str) -> list[dict[str, str]]:
        found = [parsed(line) for line in stdout.getvalue().splitlines()]
        assert all(set(line) >= {"at", "level", "logger", "event"} for line in found), (
            stdout.getvalue()
        )
        mine = [line for line in found if line["logger"] == logger]
        for line in mine:
            assert int(line.pop("duration_ms")) >= 0
            assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("at"))
        return mine

    return of_logger


def record(
    message: str, *args: object, exc: BaseException | None = None, **fields: object
) -> logging.LogRecord:
    exc_info = (type(exc), exc, exc.__traceback__) if exc else None
    made = logging.LogRecord("shop", logging.WARNING, __file__, 1, message, args, exc_info)
    made.fields = fields
    return made


REQUEST_ID = "8c1f-router-id/+="


@pytest.fixture
def bound(api: Api, stock: Any, order_body: Any) -> dict[str, str]:
    """An order is placed; what the entries of its request and of its jobs have in common."""
    stock()
    answer = api.post(
        "/v1/orders",
        order_body(),
        content_type="application/json",
        headers={"Idempotency-Key": "k", "X-Request-ID": REQUEST_ID},
    )
    assert answer["X-Request-ID"] == REQUEST_ID
    return {"request_id": REQUEST_ID, "client": str(Order.objects.get().client_id)}


@pytest.mark.django_db
def test_a_request_is_one_entry(entries: Entries, bound: dict[str, str]) -> None:
    assert entries("config.requests") == [
        {
            "level": "info",
            "logger": "config.requests",
            "event": "request",
            "method": "POST",
            "route": "/v1/orders",
            "status": "202",
            "client_name": "shop",
            **bound,
        }
    ]


@pytest.mark.django_db
def test_each_of_its_jobs_is_one_entry(entries: Entries, bound: dict[str, str]) -> None:
    work_off()
    [reserved] = [
        entry
        for entry in entries("celery_ledger.attempts")
        if entry["task"] == "orders.tasks.reserve"
    ]
    assert reserved == {
        "level": "info",
        "logger": "celery_ledger.attempts",
        "event": "attempt",
        "task": "orders.tasks.reserve",
        "attempt": "1",
        "outcome": "done",
        **bound,
        "job": str(Job.objects.get(task="orders.tasks.reserve").pk),
    }
    assert len(entries("celery_ledger.attempts")) == Job.objects.count()


@pytest.mark.django_db
def test_the_whole_life_of_an_order_is_told_without_its_customer(
    stdout: io.StringIO, api: Api, client: HttpClient, stock: Any, order_body: Any
) -> None:
    stock()
    api.place(order_body())
    work_off(ahead=timedelta(hours=1))
    order = Order.objects.get()
    client.get(f"/o/{order.public_token}/", headers={"X-Request-ID": "the-customers"})
    client.post(f"/o/{order.public_token}/")  # 405, of which Django would tell the path
    api.get(f"/v1/orders?email={order.email}")
    client.get(f"/nowhere/{order.public_token}?email={order.email}")
    output = stdout.getvalue()
    assert "method=GET route=/o/<slug:token>/ status=200" in output
    assert "route=(none) status=404" in output
    client.get("/livez")
    assert "route=/livez status=200" in stdout.getvalue()
    for secret in (
        order.public_token,
        order.email,
        "hana",
        "tok_ok",
        api.defaults["HTTP_AUTHORIZATION"].split()[1],
    ):
        assert secret not in output


@pytest.mark.django_db
def test_what_a_stranger_can_bring_about_is_no_error(
    stdout: io.StringIO, client: HttpClient, settings: Any
) -> None:
    """Or Sentry would be full of it."""
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    assert client.get("/", headers={"Host": "evil.example.com"}).status_code == 400
    [line] = [parsed(line) for line in stdout.getvalue().splitlines() if "evil.example.com" in line]
    assert (line["level"], "trace" in line) == ("warning", False)
    assert "ERROR" not in stdout.getvalue().upper()


def test_a_field_hides_what_looks_like_a_secret_too() -> None:
    assert "hana" not in Logfmt().format(record("request", client_name="hana@example.com"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("promise", "fields"),
    [
        (
            lambda: tasks.note_then_fail.delay("a"),
            {"level": "error", "outcome": "dead", "error": "ValueError"},
        ),
        (lambda: tasks.come_back.delay(1), {"level": "info", "outcome": "retry"}),
        (
            lambda: tasks.fail_for_a_while.delay(1),
            {"level": "info", "outcome": "retry", "error": "Passing"},
        ),
        (lambda: tasks.count_down.delay(1), {"level": "info", "outcome": "replaced"}),
        (
            lambda: tasks.add.apply_async((1, 1), expires=-60),
            {"level": "info", "outcome": "cancelled"},
        ),
        (tasks.settle_twice.delay, {"level": "info", "outcome": "done"}),
    ],
)
def test_how_an_attempt_ended_is_told_once(
    entries: Entries, promise: Callable[[], Any], fields: dict[str, str]
) -> None:
    job = Job.objects.get(pk=promise().id)
    attempt(job)
    [entry] = entries("celery_ledger.attempts")
    assert ("trace" in entry) == (fields["outcome"] == "dead")
    ours = {"level", "outcome", "error"}
    assert ({name: entry[name] for name in ours & set(entry)}, entry["job"]) == (
        fields,
        str(job.pk),
    )
    assert entries("celery.app.trace") == []
    if fields["outcome"] not in ("replaced", "retry"):
        attempt(job)  # its bell rings once more
        assert len(entries("celery_ledger.attempts")) == 1


def test_a_traceback_is_one_line_whose_end_is_kept() -> None:
    try:
        raise ValueError("for hana@example.com: " + "x" * 9000)
    except ValueError as exc:
        failed = record("it failed\nbadly", exc=exc, task="a.b")
    line = Logfmt().format(failed)
    assert "\n" not in line
    assert len(line.encode()) < 10_000
    assert parsed(line)["event"] == "it failed\nbadly"
    assert parsed(line)["trace"].endswith("x" * 5000)
    written = json.loads(Json().format(failed))
    assert list(written) == ["at", "level", "logger", "event", "task", "trace"]
    assert "\n" not in Json().format(failed)
    assert "hana" not in line + Json().format(failed) + Console().format(failed)
    assert Console().format(failed).startswith("WARNING shop it failed\nbadly task=a.b\nTraceback")


@pytest.mark.parametrize("form", [Logfmt, Json, Console])
@pytest.mark.parametrize(
    "secret",
    [
        "hana@example.com",
        "花@例え.jp",
        "o'neil+sushi@mail.example.co.jp",
        '"da..me"@docomo.ne.jp',
        "kaiten_" + "aB3-_" * 9,
        "whsec_c2VjcmV0/+=",
        "sk_live_51Habc",
        "rk_test_abc",
        "pm_1Qabc",
        "tok_declined",
        "card_1Qabcdefghijkl",
    ],
)
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(form: Any, secret: str) -> None:
    try:
        raise ValueError(f"Key (email)=({secret}) exists")
    except ValueError as exc:
        line = form().format(record("refused: %s.", secret, exc=exc))
    assert secret not in line
    assert "[hidden]" in line


def test_a_password_of_a_url_a_bearer_and_a_status_page_are_hidden() -> None:
    line = Console().format(
        record(
            "postgres://u:pw@db:5432/x redis://:geheim@r:1/0 Authorization: "
            "Bearer abc.def GET /o/Ab-_9/x"
        )
    )
    assert line == (
        "WARNING shop postgres://[hidden]@db:5432/x redis://[hidden]@r:1/0 Authorization: "
        "Bearer [hidden] "
        "GET /o/[hidden]/x"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (202, "202"),
        ("orders.tasks.charge", "orders.tasks.charge"),
        ("/v1/orders", "/v1/orders"),
        ("鮭", "鮭"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\\b", '"a\\\\b"'),
        ("a\nlevel=error", '"a\\nlevel=error"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("a\x85b\u2028c", '"a\\u0085b\\u2028c"'),
    ],
)
def test_a_value_of_logfmt_cannot_pretend_to_be_another(value: object, written: str) -> None:
    assert quoted(value) == written
    assert len(quoted(value).splitlines()) == 1


def test_half_a_character_does_not_silence_a_line() -> None:
    for form in (Logfmt(), Json(), Console()):
        assert b"half a pair: " in form.format(record("half a pair: \ud800")).encode()


def test_the_context_of_whoever_logs_is_told() -> None:
    with context.replaced({"request_id": "r-1", "client": "c-1", "traceparent": "00-4b"}):
        assert Console().format(record("hello")) == "WARNING shop hello request_id=r-1 client=c-1"


def test_every_form_writes_to_one_stream() -> None:
    for form in ("logfmt", "json", "console"):
        settings = configuration(form)
        assert settings["root"]["handlers"] == ["stdout"]
        assert settings["handlers"]["stdout"]["stream"] == "ext://sys.stdout"
