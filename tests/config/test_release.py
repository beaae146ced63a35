from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_release_sets_the_limits_of_the_role_so_that_new_sessions_have_them() -> None:
    """Invariant I13: no transaction is older than 60 s. A role outlives the tests, so an earlier release is undone."""
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


def test_the_migrations_say_what_the_models_say() -> None:
    said = StringIO()
    call_command("makemigrations", dry_run=True, stdout=said)
    assert said.getvalue() == "No changes detected\n"
