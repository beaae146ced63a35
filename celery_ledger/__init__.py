"""Celery tasks as rows of Postgres: promised in a transaction, claimed, settled, and rescued when
their process is lost.

This module exports the public names. Each is imported when it is first used, since Django's models
cannot be imported before its apps are ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery_ledger import context as context
    from celery_ledger.admin import LookOnlyAdmin as LookOnlyAdmin
    from celery_ledger.celery.installation import celery_options as celery_options
    from celery_ledger.celery.installation import install as install
    from celery_ledger.conf import ledger_settings as ledger_settings
    from celery_ledger.errors import in_trouble as in_trouble
    from celery_ledger.execution.current import note_effect as note_effect
    from celery_ledger.execution.lending import outside as outside
    from celery_ledger.execution.settling import settle as settle
    from celery_ledger.models import FINISHED as FINISHED
    from celery_ledger.models import Job as Job
    from celery_ledger.models import JobQuerySet as JobQuerySet
    from celery_ledger.models import Pause as Pause
    from celery_ledger.models import PauseKind as PauseKind
    from celery_ledger.models import State as State
    from celery_ledger.models import Worker as Worker
    from celery_ledger.models.backoff import delay_s as delay_s
    from celery_ledger.models.error import scrubbed as scrubbed
    from celery_ledger.operations import asked as asked
    from celery_ledger.operations import interventions as interventions
    from celery_ledger.operations import owned as owned
    from celery_ledger.operations import pausing as pausing
    from celery_ledger.operations import scheduled as scheduled
    from celery_ledger.operations.listing import local_time as local_time
    from celery_ledger.operations.why import explain as explain
    from celery_ledger.publishing.queues import bulk as bulk
    from celery_ledger.publishing.queues import waiting_in_bulk as waiting_in_bulk
    from celery_ledger.publishing.together import together as together
    from celery_ledger.telemetry.metrics import metric_families as metric_families
    from celery_ledger.telemetry.tracing import span as span
    from celery_ledger.telemetry.unheard import unheard as unheard

PUBLIC = {  # the module in which each name is
    "FINISHED": "models",
    "Job": "models",
    "JobQuerySet": "models",
    "LookOnlyAdmin": "admin",
    "Pause": "models",
    "PauseKind": "models",
    "State": "models",
    "Worker": "models",
    "bulk": "publishing.queues",
    "celery_options": "celery.installation",
    "delay_s": "models.backoff",
    "explain": "operations.why",
    "in_trouble": "errors",
    "install": "celery.installation",
    "ledger_settings": "conf",
    "local_time": "operations.listing",
    "metric_families": "telemetry.metrics",
    "note_effect": "execution.current",
    "outside": "execution.lending",
    "scrubbed": "models.error",
    "settle": "execution.settling",
    "span": "telemetry.tracing",
    "together": "publishing.together",
    "unheard": "telemetry.unheard",
    "waiting_in_bulk": "publishing.queues",
}
MODULES = {  # public names that are modules
    "asked": "operations.asked",
    "context": "context",
    "interventions": "operations.interventions",
    "owned": "operations.owned",
    "pausing": "operations.pausing",
    "scheduled": "operations.scheduled",
}
__all__ = [*PUBLIC, *MODULES]  # noqa: PLE0604 - names all the same


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(f"{__name__}.{MODULES[name]}")
    if name in PUBLIC:
        return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
