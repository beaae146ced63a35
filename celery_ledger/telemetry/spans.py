"""What `celery_ledger.telemetry.tracing` does when it is asked to. Imports the optional package.

What ties spans together is the `traceparent` of the context (W3C Trace Context), which a job's row
keeps: it outlives the broker and every retry. The spans are our own, and there is no
instrumentation of Django or Celery: that one records paths, which hold tokens, and hangs on signals
that the ledger's way to publish never sends. The sender is a thread of its own, begun with a
process's first span, so that no pool process inherits one.
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
    """This process's, made with its first span."""
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
    """A pool process ends without Python's own exit."""
    if _provider is not None:
        _provider.force_flush(timeout_millis=ledger_settings.OTLP_TIMEOUT_S * 1000)


signals.worker_process_shutdown.connect(send_what_is_left)
