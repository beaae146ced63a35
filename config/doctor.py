"""What `manage.py doctor` looks at: each check is one finding, and a wrong one says what to do."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count
from django.db.models.functions import Now

from celery_ledger import Job, State, Worker, ledger_settings, local_time, unheard
from config import celery_app
from config.start.boot import CannotStart, database_trouble, require_settings
from config.web.health import NO_WRITES, database_state
from notifications.mail.smtp import has_mail_server, mail_server_trouble
from notifications.models import Suppression
from notifications.oversight.trouble import troubles
from orders.models import Order

WAITS_TOO_LONG_AFTER_S = 60
DUE_LOOKED_THROUGH = 10_000
LIMIT = (
    "SELECT current_setting(%(name)s, true), "
    "current_setting(%(name)s, true)::interval = %(value)s::interval"
)

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    sentence: str
    remedy: str = ""  # what to do; empty when all is well

    @property
    def is_wrong(self) -> bool:
        return bool(self.remedy)


def configuration() -> Finding:
    try:
        require_settings(broker=True)
    except CannotStart as exc:
        return Finding("config", str(exc), "Set it and restart every dyno.")
    return Finding("config", "Every setting that a start needs is there.")


def mail() -> Finding:
    is_away = has_mail_server()
    if is_away and (trouble := mail_server_trouble()):
        return Finding(
            "mail",
            f"The mail server takes no mails: {trouble}.",
            "Mend it or EMAIL_URL, then `python manage.py deliveries retry --channel mail`.",
        )
    if settings.DEBUG:
        where = "Mails are sent by a server." if is_away else "Mails stay on this machine."
        return Finding("mail", where)
    if "console" in settings.MAILERS["default"]["BACKEND"]:
        return Finding(
            "mail",
            "Mails are printed to the log and reach nobody; it names their readers.",
            "Set EMAIL_URL to a mail server like smtp+tls://USER:PASSWORD@HOST:587.",
        )
    if urlsplit(settings.SITE_URL).hostname in LOOPBACK:
        return Finding(
            "mail",
            f"Mails lead their readers to {settings.SITE_URL}.",
            "Set SITE_URL to the shop's address.",
        )
    if parseaddr(settings.DEFAULT_FROM_EMAIL)[1].endswith("@localhost"):
        sentence = f"Mails come from {settings.DEFAULT_FROM_EMAIL}, which nobody can answer."
        return Finding("mail", sentence, "Set DEFAULT_FROM_EMAIL to an address of the shop.")
    return Finding("mail", "Mails are sent by a server, and lead to the shop.")


def broker() -> Finding:
    if celery_app.amqp.bell.answers():
        return Finding("broker", "The broker takes bells.")
    return Finding(
        "broker",
        "The broker does not answer; orders are taken and wait in Postgres.",
        "Bring the broker back, or check REDIS_URL; the clocks ring everything by themselves.",
    )


def database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
    if database_state() == NO_WRITES:
        return Finding(
            "database",
            f"Postgres {version} answers, but takes no order.",
            (
                "See whether it is a standby, is read-only, has a full disk, "
                "or has taken INSERT from its role."
            ),
        )
    return Finding("database", f"Postgres {version} answers, and takes orders.")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    unapplied = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not unapplied:
        return Finding("migrations", "Every migration is applied.")
    first = unapplied[0][0]
    sentence = (
        f"Migrations that are not applied: {len(unapplied)}, "
        f"the first is {first.app_label}.{first.name}."
    )
    return Finding("migrations", sentence, "Run `python manage.py release`.")


def limits() -> Finding:
    """As this session has them from its role: docs/invariants.md, I13."""
    wrong = []
    with connection.cursor() as cursor:
        for name, value in settings.POSTGRES_LIMITS.items():
            cursor.execute(LIMIT, {"name": name, "value": value})
            set_to, is_right = cursor.fetchone()
            if (
                set_to is not None and not is_right
            ):  # transaction_timeout is of Postgres 17 and later
                wrong.append(f"{name} is {set_to} instead of {value}")
    if wrong:
        return Finding(
            "limits",
            f"{', '.join(wrong)}.",
            "Run `python manage.py release`, then restart every dyno.",
        )
    return Finding("limits", "The database role has its time limits.")


def clock() -> Finding:
    living = Worker.objects.living().count()
    if living:
        return Finding("clock", f"Workers that beat: {living}.")
    newest = Worker.objects.order_by("-seen_at").first()
    since = f"; the last one did at {local_time(newest.seen_at)}" if newest else ""
    return Finding(
        "clock",
        f"No worker has beaten in the last {ledger_settings.WORKER_SILENCE_S} s{since}.",
        "Start a worker dyno (Procfile: worker) and read its log.",
    )


def waiting_jobs() -> Finding:
    patience = timedelta(seconds=WAITS_TOO_LONG_AFTER_S)
    late = Job.objects.filter(state=State.WAITING, due_at__lt=Now() - patience).order_by("due_at")
    number, oldest = late.count(), late.values_list("pk", flat=True).first()
    if not oldest:
        return Finding("waiting", f"No job has been due for more than {WAITS_TOO_LONG_AFTER_S} s.")
    sentence = f"Jobs due for more than {WAITS_TOO_LONG_AFTER_S} s: {number}."
    return Finding("waiting", sentence, f"Ask why: `python manage.py jobs why {oldest}`.")


def hearing() -> Finding:
    """Right after a fault a worker is about to cure itself: then this is green within a minute."""
    ages = [f"{queue} for {age.total_seconds():.0f} s" for queue, age in unheard().items()]
    if not ages:
        return Finding("hearing", "No idle worker leaves a due job alone.")
    return Finding(
        "hearing",
        f"Due but unheard, beside an idle worker: {', '.join(ages)}.",
        "Ask again in a minute: workers cure themselves, and say so in their logs. "
        "If it stays, restart them.",
    )


def unknown_tasks() -> Finding:
    """Due jobs that no worker of this release can do. Right after a release its web may be ahead of
    its workers.
    """
    celery_app.loader.import_default_modules()
    due = Job.objects.filter(state=State.WAITING, due_at__lt=Now()).order_by("due_at")
    tasks = Counter(due.values_list("task", flat=True)[:DUE_LOOKED_THROUGH])
    unknown = [f"{tasks[task]} of {task}" for task in sorted(tasks) if task not in celery_app.tasks]
    if not unknown:
        return Finding("tasks", "This release knows the tasks of all due jobs.")
    return Finding(
        "tasks",
        f"This release has no task for due jobs: {', '.join(unknown)}.",
        "Bring the task back until they are done, or `python manage.py jobs cancel --task NAME`.",
    )


def running_jobs() -> Finding:
    overdue = Job.objects.filter(state=State.RUNNING, lease_until__lt=Now()).order_by("lease_until")
    number, oldest = overdue.count(), overdue.values_list("pk", flat=True).first()
    if not oldest:
        return Finding("running", "No running job is past its lease.")
    return Finding(
        "running",
        f"Running jobs past their lease: {number}; no clock gives them back.",
        f"See the clock above; then `python manage.py jobs why {oldest}`.",
    )


def dead_jobs() -> Finding:
    dead = (
        Job.objects.filter(state=State.DEAD)
        .exclude(unreachable=True)
        .values_list("task")
        .annotate(number=Count("pk"))
        .order_by("task")
    )
    if not dead:
        return Finding("dead", "No job is dead.")
    return Finding(
        "dead",
        f"Dead jobs: {', '.join(f'{number} of {task}' for task, number in dead)}.",
        (
            "See `python manage.py jobs list --state dead` and `jobs why ID`; "
            "mend the cause, then `jobs retry ID`."
        ),
    )


def deliveries() -> Finding:
    found = troubles()
    if not found:
        days = settings.DELIVERY_TOLD_FOR.days
        return Finding("deliveries", f"None was given up in {days} days, and none is overdue.")
    shown = [str(trouble) for trouble in found[: settings.TROUBLES_SHOWN]]
    more = [f"{len(found) - len(shown)} targets more"] * (len(found) > len(shown))
    return Finding(
        "deliveries",
        f"They do not arrive: {'; '.join([*shown, *more])}.",
        "See `python manage.py deliveries list --state failed` and `deliveries why ID`; "
        "mend the cause, then `deliveries retry`.",
    )


def suppressed() -> Finding:
    """That customers are not mailed is no fault of the installation; that its own people are not
    is.
    """
    own = [address for address in settings.REPORT_EMAILS if Suppression.objects.of(address)]
    if own:
        return Finding(
            "unmailed",
            f"Nothing is mailed to {len(own)} of REPORT_EMAILS, on the list of such addresses.",
            "See why: `python manage.py mails suppressed`; then `mails unsuppress ADDRESS`.",
        )
    number = Suppression.objects.newest()[: settings.METRICS_ROWS_MAX].count()
    if not number:
        return Finding("unmailed", "No address is on the list of those that nothing is mailed to.")
    return Finding("unmailed", f"Addresses that nothing is mailed to: {number}.")


def held_orders() -> Finding:
    held = (
        Order.objects.filter(held=True)
        .values_list("hold_reason")
        .annotate(number=Count("pk"))
        .order_by("hold_reason")
    )
    if not held:
        return Finding("held", "No order is held.")
    reasons = ", ".join(f"{number} for {reason or 'no reason'}" for reason, number in held)
    return Finding(
        "held", f"Held orders wait for a person: {reasons}.", "See docs/runbook.md for each reason."
    )


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
