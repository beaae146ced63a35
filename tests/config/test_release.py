import os
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from config.start.boot import CannotStart
from config.start.release_turn import RELEASE, release_turn
from tests.rooms import CHECKOUT

EMPTY = "test_kaiten_empty"
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_release_sets_the_limits_of_the_role_so_that_new_sessions_have_them() -> None:
    """Invariant I13: no transaction is older than 60 s. A role outlives the tests, so an earlier
    release is undone.
    """
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE CURRENT_USER RESET ALL")
    call_command("release", stdout=StringIO(), verbosity=0)
    connection.close()
    with connection.cursor() as cursor:
        limits = {}
        for name in settings.POSTGRES_LIMITS:
            cursor.execute("SELECT current_setting(%s)", [name])
            limits[name] = cursor.fetchone()[0]
    assert limits == {
        "statement_timeout": "20s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "30s",
        "transaction_timeout": "1min",
    }


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The URL of a database without a single table."""
    database = connection.settings_dict
    login = {
        name: quote(str(database[name]), safe="") for name in ("USER", "PASSWORD", "HOST", "PORT")
    }
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET transaction_timeout = 0")  # a slow disk
        cursor.execute(f"DROP DATABASE IF EXISTS {EMPTY} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {EMPTY}")
        yield "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**login, NAME=EMPTY)
        cursor.execute(f"DROP DATABASE {EMPTY} WITH (FORCE)")


@pytest.mark.soak
def test_two_first_releases_at_once_go_one_after_the_other(empty_database: str) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "manage.py", "release"],
            cwd=CHECKOUT,
            env={**os.environ, "DATABASE_URL": empty_database},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    output = [release.communicate(timeout=100)[0] for release in both]
    assert [release.returncode for release in both] == [0, 0], output
    assert "Another release is at work; waiting for it." in "".join(output)
    assert sorted("Applying orders.0001_initial" in one for one in output) == [False, True]


def test_whoever_waits_too_long_for_another_release_says_so(settings: Any) -> None:
    settings.RELEASE_WAIT_S = 0.3
    with (
        release_turn(print),
        pytest.raises(
            CannotStart, match=r"^another release has been at work for 0\.3 s\. Release again"
        ),
    ):
        call_command("release", stdout=StringIO(), verbosity=0)
    call_command("release", stdout=StringIO(), verbosity=0)


def test_a_turn_lasts_longer_than_the_limits_of_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    limits = [f"-c {name}=200ms" for name in settings.POSTGRES_LIMITS]
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", " ".join(limits))
    with release_turn(print):
        time.sleep(0.6)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [RELEASE])
            assert cursor.fetchone() == (False,)


def test_the_migrations_say_what_the_models_say() -> None:
    output = StringIO()
    call_command("makemigrations", dry_run=True, stdout=output)
    assert output.getvalue() == "No changes detected\n"
