"""`celery -A project …`: each command works, or ends in a sentence that names what to use."""

import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from django.db import connection
from redis import Redis

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)


def celery(broker_url: str, *words: str) -> tuple[int, str]:
    """The exit status of a command, and what it prints."""
    database = {
        name: quote(str(value), safe="") for name, value in connection.settings_dict.items()
    }
    environment = {
        **os.environ,
        "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database),
        "REDIS_URL": broker_url,
        "DJANGO_SETTINGS_MODULE": "tests.celery_ledger.project.settings",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "--quiet", "-A", "tests.celery_ledger.project", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_call_promises_a_job_and_result_says_what_it_came_to(broker_url: str) -> None:
    status, output = celery(broker_url, "call", tasks.add.name, "--args", "[1, 2]")
    job = Job.objects.get()
    assert (status, output.strip()) == (0, str(job.pk))
    work_off()
    assert celery(broker_url, "result", str(job.pk)) == (0, "3\n")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("status",), "manage.py jobs stats"),
        (("inspect", "active"), "manage.py jobs stats"),
        (("control", "shutdown"), "jobs cancel"),
        (("beat",), "Start a worker"),
        (("worker", "-B"), "Start a worker"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_the_ledger_does_otherwise_ends_in_a_sentence(
    broker_url: str, words: tuple[str, ...], names: str
) -> None:
    status, output = celery(broker_url, *words)
    assert (status, names in output, "Traceback" in output) == (1, True, False), output


def test_purge_empties_the_broker_and_loses_no_job(broker: Redis, broker_url: str) -> None:
    celery(broker_url, "call", tasks.add.name, "--args", "[1, 2]")
    status, output = celery(broker_url, "purge", "--force")
    assert (status, "Purged 1 message" in output) == (0, True), output
    assert work_off() == 1
