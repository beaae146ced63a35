"""Puts the ledger into a Celery app: `app = Celery("proj", **celery_options())`, and after its
settings are named, `install(app)`.

The settings in DEFAULTS are defaults: a project's own Celery settings override them.
"""

from typing import Any

from celery import Celery
from kombu import Queue

from celery_ledger.celery.registry import LedgerRegistry
from celery_ledger.conf import ledger_settings
from celery_ledger.publishing import broker_options

DEFAULTS = {
    "beat_scheduler": "celery_ledger.celery.beat:NoBeat",
    "broker_channel_error_retry": True,  # or a worker ends when it meets a full broker
    "broker_connection_max_retries": None,
    "broker_connection_retry_on_startup": True,
    "broker_heartbeat": 30,  # RabbitMQ's; the others have their own timeouts
    "broker_pool_acquire_timeout": 1.0,
    "task_publish_retry_policy": {"max_retries": 0},
    "task_soft_time_limit": 20,
    "task_time_limit": 25,
    # Celery warns unless it is set; it concerns tasks with acks_late, and there are none
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_consumer": "celery_ledger.celery.consumer:LedgerConsumer",
    "worker_disable_rate_limits": True,  # the ledger keeps them, for all workers together
    "worker_enable_remote_control": False,
    "worker_max_tasks_per_child": 10_000,
    "worker_prefetch_multiplier": 1,  # fetched bells go before any that come later (ADR 13)
}
STEPS = (
    "celery_ledger.worker.clock:ClockStep",
    "celery_ledger.worker.shutdown:DrainStep",
    "celery_ledger.threads.step:ThreadsStep",
)
QUEUES = "celery_ledger.publishing.queues"  # by name: its models need Django's apps


def celery_options() -> dict[str, Any]:
    """The arguments of Celery's constructor that put the ledger in the place of its own parts."""
    return {
        "amqp": "celery_ledger.publishing.amqp:LedgerAMQP",
        "backend": "celery_ledger.celery.backend:LedgerBackend",
        "control": "celery_ledger.celery.control:LedgerControl",
        "task_cls": "celery_ledger.celery.task:LedgerTask",
        "tasks": LedgerRegistry(),
        "fixups": ["celery_ledger.celery.fixup:fixup"],
    }


def install(app: Celery) -> None:
    """Add the ledger's default settings, those that fit the app's broker, and the boot steps of a
    worker: its clock, its way to stop, its threads.
    """
    app.add_defaults(DEFAULTS)
    app.on_after_configure.connect(fit_to_the_broker, sender=app, weak=False)
    app.steps["worker"].update(STEPS)


def fit_to_the_broker(sender: Celery, source: Any, **_: Any) -> None:
    """Set queues, routes and transport by the app's own settings (`source`), once they are read.

    Queues and transport that the project has named stay; its routes come between the ledger's two.
    """
    url = source.broker_url or ""
    names = ledger_settings.QUEUES or (
        source.task_default_queue,
        ledger_settings.OUTSIDE_QUEUE,
        ledger_settings.BULK_QUEUE,
    )
    arguments = broker_options.queue_arguments(url)
    served = [Queue(name, routing_key=name, queue_arguments=arguments) for name in names]
    own = source.task_routes or ()
    between = own if isinstance(own, (list, tuple)) else (own,)
    routes = [
        "celery_ledger.publishing.queues.inherited",
        *between,
        "celery_ledger.publishing.queues.outside",
    ]
    options = {**broker_options.for_a_worker(url), **source.broker_transport_options}
    source.update(
        task_queues=source.task_queues or served,
        task_routes=routes,
        broker_transport=source.broker_transport or broker_options.transport_of_a_worker(url),
        broker_transport_options=options,
    )
