"""What Sentry and a collector of OpenTelemetry hear of real processes: each error once, one trace,
nobody's data.
"""

import gzip
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sentry_sdk.integrations.logging import EventHandler

from celery_ledger import context
from celery_ledger.models import Job
from celery_ledger.telemetry import spans as sender
from celery_ledger.testing import work_off
from config import sentry
from orders.models import ApiKey, Client, Order
from tests.celery_ledger import tasks
from tests.doubles.edges import WebhookSink
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collector() -> Iterator[WebhookSink]:
    with WebhookSink() as collector:
        yield collector


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def origin(sink: WebhookSink) -> str:
    return sink.url.partition("/hooks")[0]


def body_of(heard: tuple[dict[str, str], bytes]) -> bytes:
    headers, body = heard
    return gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body


def events(sentry: WebhookSink) -> list[dict[str, Any]]:
    """What envelopes hold: a line for the envelope, then a header and a payload for each item."""
    found = []
    for heard in list(sentry.heard):
        _, *items = body_of(heard).splitlines()
        found += [
            json.loads(payload)
            for header, payload in zip(items[::2], items[1::2], strict=True)
            if json.loads(header)["type"] == "event"
        ]
    return found


def spans(collector: WebhookSink) -> list[dict[str, Any]]:
    """The attributes of each span, with its name and ids."""
    found = []
    for heard in list(collector.heard):
        for resource in ExportTraceServiceRequest.FromString(body_of(heard)).resource_spans:
            for span in [span for scope in resource.scope_spans for span in scope.spans]:
                attributes = {
                    attribute.key: attribute.value.string_value or attribute.value.int_value
                    for attribute in span.attributes
                }
                ids = {
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                }
                found.append(
                    {
                        "name": span.name,
                        "status": span.status.code,
                        "events": len(span.events),
                        **ids,
                        **attributes,
                    }
                )
    return found


@pytest.mark.soak
def test_a_request_and_its_jobs_are_one_trace_and_tell_nobodys_data(
    stack: Stack,
    shop: Client,
    stock: Callable[..., Any],
    order_body: Callable[..., Any],
    collector: WebhookSink,
) -> None:
    stock()
    stack.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = origin(collector)
    key = ApiKey.objects.issue(shop, [])
    take_and_work_off_an_order(stack, key, order_body())
    jobs = {str(job.pk): job.task for job in Job.objects.all()}
    until(lambda: len(spans_of_jobs(collector)) >= len(jobs), "all is told", within_s=15)
    [request] = [span for span in spans(collector) if span["name"] == "POST /v1/orders"]
    made = spans_of_jobs(collector)
    assert_it_goes_on_the_callers_trace(request)
    assert {job: span["name"] for job, span in made.items()} == jobs
    assert {span["trace"] for span in made.values()} == {request["trace"]}
    assert {span["ledger.request_id"] for span in made.values()} == {request["kaiten.request_id"]}
    above = {request["id"], *(span["id"] for span in made.values())}
    assert [span for span in made.values() if span["parent"] not in above] == []
    order = Order.objects.get()
    everything = b"".join(body_of(heard) for heard in collector.heard)
    secrets = (order.email, order.public_token, key, "tok_ok")
    assert [secret for secret in secrets if secret.encode() in everything] == []


def take_and_work_off_an_order(stack: Stack, key: str, body: dict[str, Any]) -> None:
    """With a web and a worker process; the worker has ended, so it has told all."""
    web, worker = stack.start_web(), stack.start("worker")
    web.ask(
        "POST",
        "/v1/orders",
        body,
        Authorization=f"Bearer {key}",
        Idempotency_Key="k",
        traceparent=TRACEPARENT,
        Content_Type="application/json",
    )
    until(
        lambda: Job.objects.count() > 3 and not Job.objects.exclude(state="done").exists(),
        "all is done",
        within_s=60,
    )
    worker.signal(signal.SIGTERM)
    worker.process.wait(timeout=30)


def spans_of_jobs(collector: WebhookSink) -> dict[str, dict[str, Any]]:
    return {span["ledger.job"]: span for span in spans(collector) if "ledger.job" in span}


def assert_it_goes_on_the_callers_trace(request: dict[str, Any]) -> None:
    _, trace, parent, _ = TRACEPARENT.split("-")
    assert (request["trace"], request["parent"]) == (trace, parent)
    assert request["http.route"] == "/v1/orders"
    assert (request["http.response.status_code"], request["status"]) == (202, 0)


@pytest.mark.soak
def test_an_error_arrives_at_sentry_once_with_its_ids_and_without_values(
    stack: Stack, shop: Client, sink: WebhookSink, collector: WebhookSink
) -> None:
    stack.environment |= {
        "SENTRY_DSN": origin(sink).replace("http://", "http://public@") + "/7",
        "HEROKU_SLUG_COMMIT": "c0ffee",
        "OTEL_EXPORTER_OTLP_ENDPOINT": origin(collector),
    }
    worker = stack.start("worker", "--include", "tests.celery_ledger.tasks")
    with context.bound(request_id="req-12345", client="0198-shop", traceparent=TRACEPARENT):
        job = tasks.fail_with.delay("for hana@example.com, paid with tok_ok").id
        fine = tasks.add.delay(1, 1).id
    until(
        lambda: Job.objects.filter(pk__in=[job, fine], finished_at=None).count() == 0,
        "both ended",
        within_s=60,
    )
    worker.signal(signal.SIGTERM)
    worker.process.wait(timeout=30)
    [event] = events(sink)
    [error] = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ValueError", "for [hidden], paid with [hidden]")
    assert {
        "request_id": "req-12345",
        "client": "0198-shop",
        "job": job,
        "task": "tests.celery_ledger.tasks.fail_with",
    }.items() <= (event["tags"].items())
    assert (event["release"], event["environment"], event["logger"]) == (
        "c0ffee",
        "development",
        "celery_ledger.attempts",
    )
    assert [frame for frame in error["stacktrace"]["frames"] if "vars" in frame] == []
    assert set(event) & {"request", "user", "extra", "breadcrumbs", "contexts", "modules"} == set()
    assert b"hana" not in b"".join(body_of(heard) for heard in sink.heard + collector.heard)
    [failed] = [span for span in spans(collector) if span.get("ledger.job") == job]
    assert (failed["status"], failed["ledger.error"], failed["events"]) == (2, "ValueError", 0)


@pytest.fixture
def callers(sink: WebhookSink, collector: WebhookSink) -> Iterator[set[threading.Thread]]:
    """The threads of this process that have connected to either of the two."""
    found: set[threading.Thread] = set()
    ports = {sink.server.server_address[1], collector.server.server_address[1]}

    def note(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(args[1], tuple) and args[1][1] in ports:
            found.add(threading.current_thread())

    sys.addaudithook(note)  # for ever, since Python takes none back
    yield found
    ports.clear()


def test_whoever_tells_them_is_no_thread_that_works(
    callers: set[threading.Thread],
    sink: WebhookSink,
    collector: WebhookSink,
    settings: Any,
    monkeypatch: Any,
) -> None:
    """So no socket of theirs is opened inside a transaction, or waited for."""
    settings.LEDGER = {**settings.LEDGER, "OTLP_ENDPOINT": origin(collector)}
    settings.SENTRY_DSN = origin(sink).replace("http://", "http://public@") + "/7"
    monkeypatch.setattr(sender, "_provider", None)
    sentry.begin()
    logging.getLogger("celery_ledger.attempts").addHandler(
        handler := EventHandler(level=logging.ERROR)
    )
    try:
        tasks.fail_with.delay("no such luck")
        work_off()
        until(lambda: bool(events(sink)) and bool(spans(collector)), "both are told", within_s=15)
    finally:
        logging.getLogger("celery_ledger.attempts").removeHandler(handler)
        sender.provider().shutdown()
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)
    assert callers
    assert threading.main_thread() not in callers


@pytest.mark.soak
def test_a_collector_that_hangs_and_a_sentry_that_is_away_hold_up_nobody(
    stack: Stack, shop: Client, stock: Callable[..., Any], order_body: Callable[..., Any]
) -> None:
    stock()
    with black_hole() as url:
        stack.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "SENTRY_DSN": "http://public@127.0.0.1:1/7",
        }
        web, worker = (
            stack.start_web(),
            stack.start("worker", "--include", "tests.celery_ledger.tasks"),
        )
        key = ApiKey.objects.issue(shop, [])
        sent = {
            "Authorization": f"Bearer {key}",
            "Content_Type": "application/json",
            "Idempotency_Key": "k",
        }
        assert web.ask("POST", "/v1/orders", order_body(), **sent)[0] == 202
        tasks.fail_with.delay("no such luck")
        until(
            lambda: not Job.objects.filter(finished_at=None).exists(), "all has ended", within_s=60
        )
        for tree in (web.tree, worker):
            tree.signal(signal.SIGTERM)
            tree.process.wait(timeout=29)  # else the platform would kill it
