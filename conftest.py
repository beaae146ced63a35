"""For the tests of every app: they run on the Postgres and the broker that `bin/test` starts, and
may ask for `work_off` and `ledger_worker`."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import current_app
from django.conf import settings
from django.core.management.commands import flush
from django.db import connection
from django.test import override_settings

from tests.machine.own_broker import OwnBroker

pytest_plugins = ["celery_ledger.pytest_plugin"]
if "orders" in settings.INSTALLED_APPS:
    pytest_plugins += ["tests.shop", "tests.shop.past_days"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """A test that releases limits the role of all tests; a database is made and dropped as fast as
    the disk can.
    """
    connection.settings_dict["OPTIONS"]["options"] = "-c statement_timeout=0"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The tests themselves live with the limits. What the planner knows of a table is what the test
    told it by ANALYZE: nobody comes by at moments of his own, and nothing is left of other tests.
    """
    unlimited = connection.settings_dict["OPTIONS"].pop("options")
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'ALTER TABLE "{table}" SET (autovacuum_enabled = false)')
        connection.close()
    yield
    connection.settings_dict["OPTIONS"]["options"] = unlimited


TEST_BROKER_DB = 9  # so that a worker of `bin/dev` hears nothing of the tests


@pytest.fixture(scope="session", autouse=True)
def broker_url() -> Iterator[str]:
    """Each process of pytest-xdist has a broker of its own, which the tests of the others neither
    fill nor freeze.
    """
    with ExitStack() as held:
        shared: str = settings.BROKER_URL
        is_one_of_many = "PYTEST_XDIST_WORKER" in os.environ
        url = held.enter_context(OwnBroker()).url if is_one_of_many else shared
        current_app.conf.broker_url = urlsplit(url)._replace(path=f"/{TEST_BROKER_DB}").geturl()
        yield current_app.conf.broker_url


MANY = 500
LARGE = 20 * 8192  # bytes
FORGET_STATISTICS = """  -- Postgres 18 and later, as the embedded one
    SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited) FROM pg_stats
     WHERE schemaname = current_schema()"""
KEPT = {"auth_permission", "django_content_type"}  # what `migrate` writes, the same for every test


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Passwords are hashed quickly in tests: a good hash takes a quarter of a second."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session", autouse=True)
def _empty_only_what_is_full() -> Iterator[None]:
    """After each test that commits. Django would truncate every table, and write again what a
    migration does: twice as long as most tests take.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connection.ops, "sql_flush", _sql_flush)
        patched.setattr(flush, "emit_post_migrate_signal", lambda *_, **__: None)
        yield


def _sql_flush(style: Any, tables: list[str], **_: Any) -> list[str]:
    """Deletes what is there, in one transaction, at the end of which foreign keys are checked. Of
    many rows nothing may be left, not even where they were, nor what ANALYZE knew of them: the next
    test's plans would see it.
    """
    some = " UNION ALL ".join(
        f"SELECT '{table}', pg_relation_size('\"{table}\"') > {LARGE},"
        f' (SELECT count(*) FROM (SELECT FROM "{table}" LIMIT {MANY}) AS first)'
        for table in sorted({*tables} - KEPT)
    )
    with connection.cursor() as cursor:
        cursor.execute(some)
        rows = cursor.fetchall()
        forgets = cursor.connection.info.server_version >= 18_00_00
    many = {table for table, is_large, number in rows if is_large or number == MANY}
    few = [table for table, _, number in rows if number and table not in many]
    return (
        [f'TRUNCATE "{table}" CASCADE' for table in sorted(many)]
        + [f'DELETE FROM "{table}"' for table in few]
        + [FORGET_STATISTICS] * forgets
    )
