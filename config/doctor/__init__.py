"""What `manage.py doctor` looks at: each check is one finding, and a wrong one says what to do."""

from collections.abc import Callable, Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, OperationalError

from config.doctor.finding import Finding
from config.doctor.installation import broker, configuration, database, limits, mail, migrations
from config.doctor.shop import deliveries, held_orders, suppressed
from config.doctor.work import clock, dead_jobs, hearing, running_jobs, unknown_tasks, waiting_jobs
from config.start.boot import database_trouble

__all__ = [
    "Finding",
    "broker",
    "clock",
    "configuration",
    "database",
    "dead_jobs",
    "deliveries",
    "findings",
    "hearing",
    "held_orders",
    "limits",
    "mail",
    "migrations",
    "running_jobs",
    "suppressed",
    "unknown_tasks",
    "waiting_jobs",
]

OF_THE_DATABASE: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("database", database),
    ("migrations", migrations),
    ("limits", limits),
    ("clock", clock),
    ("waiting", waiting_jobs),
    ("hearing", hearing),
    ("tasks", unknown_tasks),
    ("running", running_jobs),
    ("dead", dead_jobs),
    ("deliveries", deliveries),
    ("unmailed", suppressed),
    ("held", held_orders),
)


def findings() -> Iterator[Finding]:
    """Every check in turn. One that Postgres does not answer is the last that asks it."""
    yield configuration()
    yield mail()
    yield broker()
    for about, check in OF_THE_DATABASE:
        try:
            yield check()
        except (OperationalError, InterfaceError, ImproperlyConfigured) as exc:
            yield Finding(
                about,
                database_trouble(exc),
                "Bring Postgres back; what waits, runs or died is not known.",
            )
            return
        except DatabaseError as exc:
            yield Finding(
                about,
                f"Postgres cannot say: {str(exc).splitlines()[0]}.",
                "Run `python manage.py release`.",
            )
