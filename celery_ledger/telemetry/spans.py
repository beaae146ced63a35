"""Makes and sends spans; `celery_ledger.telemetry.tracing` imports it only if it is to, since it
needs the optional package.

Spans are tied together by the `traceparent` of the context (W3C Trace Context). A job's row keeps
it, so it outlives the broker and every retry. OpenTelemetry's own instrumentation of Django and
Celery is not used: it records paths, which may hold tokens, and needs signals that the ledger does
not send. Spans are sent by a thread that begins with a process's first span, so that no process of
a pool inherits it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import signals
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from celery_ledger import context
from celery_ledger.conf import ledger_settings

_provider: TracerProvider | None = None
_lock = threading.Lock()


@contextmanager
def around(name: str, kind: str, about: dict[str, Any]) -> Iterator[None]:
    """See `celery_ledger.telemetry.tracing.span`."""
    w3c, carrier = TraceContextTextMapPropagator(), dict[str, str]()
    with (
        provider()
        .get_tracer("celery_ledger")
        .start_as_current_span(
            name,
            w3c.extract(context.current()),
            trace.SpanKind[kind],
            record_exception=False,
            set_status_on_exception=False,
        ) as span
    ):
        w3c.inject(carrier)
        with context.bound(traceparent=carrier.get("traceparent")):
            try:
                yield
            finally:
                span.update_name(about.pop("name", name))
                if about.pop("failed", False):
                    span.set_status(trace.StatusCode.ERROR)
                span.set_attributes(
                    {key: value for key, value in about.items() if value is not None}
                )


def provider() -> TracerProvider:
    """The provider of this process, which is made with its first span."""
    global _provider  # noqa: PLW0603 - there is one sender per process
    with _lock:
        if _provider is None:
            endpoint = f"{ledger_settings.OTLP_ENDPOINT.rstrip('/')}/v1/traces"
            exporter = OTLPSpanExporter(endpoint, timeout=ledger_settings.OTLP_TIMEOUT_S)
            _provider = TracerProvider(
                resource=Resource.create({"service.name": ledger_settings.OTLP_SERVICE_NAME})
            )
            pause_ms = ledger_settings.OTLP_PAUSE_S * 1000
            _provider.add_span_processor(
                BatchSpanProcessor(exporter, schedule_delay_millis=pause_ms)
            )
    return _provider


def send_what_is_left(**_: Any) -> None:
    """Send the spans that were not sent yet. A process of a pool ends without Python's own exit, in
    which the provider would do it.
    """
    if _provider is not None:
        _provider.force_flush(timeout_millis=ledger_settings.OTLP_TIMEOUT_S * 1000)


signals.worker_process_shutdown.connect(send_what_is_left)
