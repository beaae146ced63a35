"""`manage.py apikey`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orders.models import ApiKey, Client
from orders.models.client import SCOPES

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> ApiKey:
    said = StringIO()
    call_command("apikey", "create", *arguments, stdout=said, stderr=StringIO())
    key = ApiKey.objects.find(said.getvalue().splitlines()[-1])
    assert key is not None
    return key


def test_a_key_without_scopes_has_every_scope_and_its_client_is_made_once() -> None:
    assert create("till").scopes == create("till").scopes == list(SCOPES)
    assert Client.objects.get().name == "till"


@pytest.mark.parametrize(
    "said",
    [("--scope", "orders:read", "stock:read"), ("--scope", "orders:read", "--scope", "stock:read")],
)
def test_a_key_has_the_scopes_that_were_named(said: tuple[str, ...]) -> None:
    assert create("till", *said).scopes == ["orders:read", "stock:read"]


@pytest.mark.parametrize(
    "said",
    [("till", "--scope", "orders:eat"), ("till", "--scope"), ("",), ("a\nb",), ("x" * 201,), ()],
)
def test_what_cannot_be_is_refused_and_nobody_is_made(said: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        create(*said)
    assert not Client.objects.exists()
