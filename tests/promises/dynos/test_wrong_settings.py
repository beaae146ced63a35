"""A start with a wrong setting ends in a sentence that names it, whatever process it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine.ports import free_port
from tests.promises.dynos.starts import start_each
from tests.promises.processes import PROGRAMS, Stack, procfile
from tests.rooms import CHECKOUT
from tests.waiting import until

GOOD = {
    "DYNO": "test.1",
    "SECRET_KEY": "x" * 50,
    "DATABASE_URL": "postgres://u:p@127.0.0.1:1/x",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
STRIPE = {
    "PAYMENT_PROVIDER": "stripe",
    "STRIPE_SECRET_KEY": "sk_test_x",
    "STRIPE_WEBHOOK_SECRET": "whsec_x",
}
WITHOUT_EXTRAS = (
    Path(__file__).parent / "without" / "extras"
)  # its sitecustomize hides the packages
MANAGE = [sys.executable, "manage.py", "release"]


def environment_with(changes: dict[str, str]) -> dict[str, str]:
    """That of a start whose settings are good but for these; without those that are empty."""
    settings = {**GOOD, "PORT": str(free_port()), **changes}
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {name: value for name, value in settings.items() if value}


def start(command: list[str], **changes: str) -> tuple[int, str]:
    ended = subprocess.run(
        command,
        env=environment_with(changes),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


PROCESSES = ("web", "worker", "release")
WRONG: list[tuple[dict[str, str], str]] = [
    (
        {"SECRET_KEY": ""},
        "Kaiten cannot start: SECRET_KEY is not set. Set it to a long random text",
    ),
    ({"DATABASE_URL": ""}, "Kaiten cannot start: DATABASE_URL is not set. Set it to postgres://"),
    (
        {"DATABASE_URL": "nonsense"},
        "Kaiten cannot start: DATABASE_URL cannot be read. Set it to postgres://",
    ),
    (
        {"DATABASE_URL": "mysql://a/b"},
        "Kaiten cannot start: DATABASE_URL must name a Postgres database",
    ),
    (
        {"DATABASE_URL": "postgres://a/b?pool=1"},
        "Kaiten cannot start: DATABASE_URL holds an option, or a value, that Postgres",
    ),
    (
        {"DATABASE_URL": "postgres:///"},
        "Kaiten cannot start: DATABASE_URL needs the name of a database after the host",
    ),
    (
        {"DATABASE_URL": "postgres://a/b?sslmode=bogus"},
        "Kaiten cannot start: DATABASE_URL holds an option, or a value, that Postgres does not "
        'know: invalid sslmode value: "bogus".',
    ),
    (
        {"DATABASE_URL": "postgres://a/b?connect_timeout=soon"},
        "Kaiten cannot start: DATABASE_URL holds an option",
    ),
    (
        {"DEBUG": "maybe"},
        "Kaiten cannot start: DEBUG is set to something that cannot be read. Set it to 1 or 0.",
    ),
    ({"CELERY_CONCURRENCY": "two"}, "Kaiten cannot start: CELERY_CONCURRENCY is set to something"),
    ({"CELERY_CONCURRENCY": "-1"}, "Kaiten cannot start: CELERY_CONCURRENCY is set to something"),
    ({"WEB_CONCURRENCY": "0"}, "Kaiten cannot start: WEB_CONCURRENCY is set to something"),
    (
        {"PORT": "70000"},
        "Kaiten cannot start: PORT is set to something that cannot be read. Set it to a number be",
    ),
    (
        {"RATE_LIMIT_PER_MINUTE": "0"},
        "Kaiten cannot start: RATE_LIMIT_PER_MINUTE is set to something",
    ),
    (
        {"LOG_FORMAT": "xml"},
        "Kaiten cannot start: LOG_FORMAT is set to something that cannot be read. Set it to logfmt",
    ),
    (
        {"TIME_ZONE": "Mars/Olympus"},
        "Kaiten cannot start: TIME_ZONE is set to something that cannot be read. Set it to a time",
    ),
    (
        {"SHOP_RESERVATION_MINUTES": "0"},
        "Kaiten cannot start: SHOP_RESERVATION_MINUTES is set to something that cannot be read.",
    ),
    (
        {"JOBS_KEEP_DAYS": "0"},
        "Kaiten cannot start: JOBS_KEEP_DAYS is set to something that cannot be read. Set it",
    ),
    (
        {"WEB_CONCURRENCY": "two"},
        "Kaiten cannot start: WEB_CONCURRENCY is set to something that cannot be read",
    ),
    (
        {"WEB_CONCURRENCY": "-1"},
        "Kaiten cannot start: WEB_CONCURRENCY is set to something that cannot be read",
    ),
    (
        {"SECRET_KEY": "a"},
        "Kaiten cannot start: SECRET_KEY has fewer than 32 characters. Set it to what `openssl",
    ),
    (
        {"SECRET_KEY": "é" * 50},
        "Kaiten cannot start: SECRET_KEY is set to something that cannot be read.",
    ),
    (
        {"WEBHOOK_MASTER_KEY": "a"},
        "Kaiten cannot start: WEBHOOK_MASTER_KEY has fewer than 16 characters.",
    ),
    (
        {"METRICS_TOKEN": "é" * 20},
        "Kaiten cannot start: METRICS_TOKEN is set to something that cannot be read. Set",
    ),
    ({"METRICS_TOKEN": "a"}, "Kaiten cannot start: METRICS_TOKEN has fewer than 8 characters."),
    (
        {"EMAIL_URL": "smtp://"},
        "Kaiten cannot start: EMAIL_URL names no server. Set it to smtp+tls://USER:",
    ),
    ({"EMAIL_URL": "pigeon://x"}, "Kaiten cannot start: EMAIL_URL is set to something"),
    (
        {"STAFF_CHAT_URL": "http://chat.example.com/x"},
        "Kaiten cannot start: STAFF_CHAT_URL is set to something that cannot be read. Set it to an",
    ),
    ({"STAFF_CHAT_URL": "https://10.0.0.1/x"}, "Kaiten cannot start: STAFF_CHAT_URL is set to"),
    (
        {"SITE_URL": "https://a/?b"},
        "Kaiten cannot start: SITE_URL is set to something that cannot be read. Set it",
    ),
    (
        {"HEROKU_APP_DEFAULT_DOMAIN_NAME": "http://x"},
        "Kaiten cannot start: HEROKU_APP_DEFAULT_DOMAIN_NAME is set",
    ),
    (
        {"REDIS_URL": "nonsense"},
        "Kaiten cannot start: The broker's URL cannot be read. Set REDIS_URL to redis://",
    ),
    (
        {"REDIS_URL": "redis://a:b/0"},
        "Kaiten cannot start: The broker's URL cannot be read. Set REDIS_URL to redis://",
    ),
    (
        {"REDIS_URL": "redis://[::1/0"},
        "Kaiten cannot start: The broker's URL cannot be read. Set REDIS_URL to",
    ),
    (
        {"REDIS_URL": "redis://a/b"},
        "Kaiten cannot start: The broker's URL cannot be read. Set REDIS_URL to redis://",
    ),
    (
        {"REDIS_URL": "redis://a/0?pool=1"},
        "Kaiten cannot start: The broker's URL cannot be read. Set REDIS_URL to",
    ),
    (
        {"REDIS_URL": "rediss://a/0?ssl_cert_reqs=maybe"},
        "Kaiten cannot start: The broker's URL cannot be read. Set RE",
    ),
    (
        {"BROKER_URL": "ironmq://a"},
        "Kaiten cannot start: The broker's URL cannot be read. Set BROKER_URL to redis://",
    ),
    (
        {"REDIS_URL": "", "CLOUDAMQP_URL": "a"},
        "Kaiten cannot start: The broker's URL cannot be read. Set CLOUDAMQP_URL",
    ),
    (
        {"PAYMENT_PROVIDER": "gold"},
        "Kaiten cannot start: PAYMENT_PROVIDER is 'gold'. Set it to sandbox or stripe.",
    ),
    (
        {**STRIPE, "STRIPE_SECRET_KEY": ""},
        "Kaiten cannot start: STRIPE_SECRET_KEY is not set, and PAYMENT_PROVIDER is",
    ),
    (
        {**STRIPE, "STRIPE_WEBHOOK_SECRET": ""},
        "Kaiten cannot start: STRIPE_WEBHOOK_SECRET is not set, and",
    ),
    (
        {**STRIPE, "STRIPE_API_BASE": "http://127.0.0.1:1"},
        "Kaiten cannot start: STRIPE_API_BASE is not https",
    ),
    (
        {**STRIPE, "PYTHONPATH": str(WITHOUT_EXTRAS)},
        "its package is not installed. Run `bin/lock --extra stripe`",
    ),
    (
        {"BROKER_URL": "sqs://", "PYTHONPATH": str(WITHOUT_EXTRAS)},
        "its package is not installed. Run `bin/lock --ex",
    ),
    (
        {"SENTRY_DSN": "https://key@127.0.0.1/1", "PYTHONPATH": str(WITHOUT_EXTRAS)},
        (
            "Kaiten cannot start: SENTRY_DSN is set, but its package is not installed. "
            "Run `bin/lock --extra sentry`"
        ),
    ),
    (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(WITHOUT_EXTRAS)},
        (
            "Kaiten cannot start: OTEL_EXPORTER_OTLP_ENDPOINT is set, "
            "but its package is not installed. Run `bin/lock"
        ),
    ),
]


def assert_says(process: str, changes: dict[str, str], sentence: str) -> None:
    status, output = start(MANAGE if process == "release" else procfile(process), **changes)
    assert status != 0
    assert sentence in output
    assert "Traceback" not in output


def test_a_wrong_setting_ends_a_start_in_a_sentence() -> None:
    """Each in a fork; all processes read the settings in one place."""
    ended = start_each([(["release"], environment_with(changes)) for changes, _ in WRONG])
    for (changes, sentence), (status, output) in zip(WRONG, ended, strict=True):
        assert (status, sentence in output, "Traceback" in output) == (1, True, False), (
            changes,
            output,
        )


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_reads_them(process: str) -> None:
    assert_says(process, *WRONG[0])


@pytest.mark.soak
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_setting_ends_every_start_in_a_sentence(process: str, number: int) -> None:
    assert_says(process, *WRONG[number])


NOTHING = {"SECRET_KEY": "", "DATABASE_URL": "", "REDIS_URL": "", "PORT": ""}
FIRST_THAT_LACKS = (
    (NOTHING, "SECRET_KEY is not set. Set it to a long random text, the same on every dyno."),
    (
        {"DATABASE_URL": ""},
        "DATABASE_URL is not set. Set it to postgres://USER:PASSWORD@HOST:PORT/NAME.",
    ),
)


def test_a_command_that_lacks_its_settings_says_so_as_a_start_does() -> None:
    commands = [["check"], ["shell", "-c", "print(7)"], ["jobs", "stats"]]
    for changes, sentence in FIRST_THAT_LACKS:
        ended = start_each([(command, environment_with(changes)) for command in commands])
        assert ended == [(1, f"Kaiten cannot start: {sentence}\n")] * len(commands)


def test_the_doctor_and_the_help_need_no_settings() -> None:
    commands = [["doctor"], ["jobs", "--help"]]
    doctor, usage = start_each([(command, environment_with(NOTHING)) for command in commands])
    assert (doctor[0], "WRONG  config      SECRET_KEY is not set." in doctor[1]) == (1, True)
    assert "Traceback" not in doctor[1]
    assert (usage[0], "usage: manage.py jobs" in usage[1]) == (0, True)


@pytest.mark.soak
def test_a_worker_without_a_broker_says_so() -> None:
    status, output = start(procfile("worker"), REDIS_URL="")
    assert (status, "Set REDIS_URL to redis://HOST:PORT/0" in output, "Traceback" in output) == (
        1,
        True,
        False,
    )


def test_a_worker_that_would_drop_its_jobs_on_every_deploy_says_so() -> None:
    status, output = start(procfile("worker"), REMAP_SIGTERM="SIGQUIT")
    assert (
        status,
        "REMAP_SIGTERM is set" in output and "Unset it." in output,
        "Traceback" in output,
    ) == (1, True, False)


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    status, output = start(MANAGE, DATABASE_URL="postgres://u:secret@127.0.0.1:1/x")
    assert status == 1
    assert "Postgres at 127.0.0.1:1/x does not answer; check DATABASE_URL" in output
    assert "refused" in output
    assert "secret" not in output
    assert "Traceback" not in output


def test_a_web_dyno_without_its_database_says_so_at_once_and_stays_up(tmp_path: Path) -> None:
    stack = Stack({**GOOD, "DATABASE_URL": "postgres://u:secret@127.0.0.1:1/x"}, tmp_path)
    try:
        web = stack.start_web()
        sentence = "Postgres at 127.0.0.1:1/x does not answer; check DATABASE_URL"
        until(
            lambda: sentence in web.tree.output(),
            "the log says it, though nobody has asked",
            within_s=10,
        )
        assert "Until it does, orders are refused and /readyz answers 503." in web.tree.output()
        assert "secret" not in web.tree.output()
        assert "Traceback" not in web.tree.output()
        assert (web.ask("GET", "/livez")[0], web.ask("GET", "/readyz")[0]) == (200, 503)
    finally:
        stack.stop()


def test_stripe_starts_with_its_settings_and_a_web_dyno_reads_events_without_its_package() -> None:
    """The start ends at the database, which is not there: the settings were enough."""
    status, output = start(MANAGE, **STRIPE)
    assert (status, "Postgres at 127.0.0.1:1/x does not answer" in output) == (1, True)
    read = (
        "import sys, config.wsgi; from orders.payments.provider import event_reader; "
        "event_reader('stripe'); "
    )
    assert (
        start([sys.executable, "-c", read + "sys.exit('stripe' in sys.modules)"], **STRIPE)[0] == 0
    )


@pytest.mark.soak
def test_a_report_of_celery_for_others_to_read_holds_no_password() -> None:
    secrets = {
        "REDIS_URL": "redis://user:hush@127.0.0.1:1/0",
        "DATABASE_URL": "postgres://user:hush@127.0.0.1:1/x",
        "EMAIL_URL": "smtp+tls://user:hush@example.com:587",
        "SECRET_KEY": "hush" * 10,
        "METRICS_TOKEN": "hush" * 10,
        "SENTRY_DSN": "https://hush@127.0.0.1/1",
    }
    status, output = start([str(PROGRAMS / "celery"), "-A", "config", "report"], **secrets)
    assert (status, "software ->" in output) == (0, True)
    assert "hush" not in output
