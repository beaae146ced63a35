"""Which errors are Postgres' own trouble, by SQLSTATE, as Postgres itself raises them."""

import pytest
from django.db import Error, InterfaceError, OperationalError, connection

from celery_ledger.errors import in_trouble

pytestmark = pytest.mark.django_db


def raised(sqlstate: str) -> Error:
    with pytest.raises(Error) as caught, connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$")
    return caught.value


@pytest.mark.parametrize(
    "sqlstate",
    [
        "08006",
        "25006",
        "25P03",
        "40001",
        "40P01",
        "42501",
        "53100",
        "53200",
        "53300",
        "55P03",
        "57014",
        "57P01",
        "58030",
        "XX000",
    ],
)
def test_it_may_not_write_has_no_room_or_gave_up(sqlstate: str) -> None:
    assert in_trouble(raised(sqlstate))


@pytest.mark.parametrize(
    "sqlstate", ["22001", "22021", "23505", "23514", "25P02", "42601", "42P01", "P0001"]
)
def test_the_statement_is_at_fault(sqlstate: str) -> None:
    assert not in_trouble(raised(sqlstate))


def test_a_connection_that_cannot_be_made_is_trouble_and_any_other_exception_is_none() -> None:
    assert in_trouble(OperationalError("connection refused"))
    assert in_trouble(InterfaceError("the connection is closed"))
    assert not in_trouble(ValueError("x"))
    assert not in_trouble(None)
