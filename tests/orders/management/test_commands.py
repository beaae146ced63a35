"""`manage.py apikey`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orders.models import ApiKey, Client
from orders.models.client import SCOPES

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> ApiKey:
    output = StringIO()
    call_command("apikey", "create", *arguments, stdout=output, stderr=StringIO())
    key = ApiKey.objects.find(output.getvalue().splitlines()[-1])
    assert key is not None
    return key


def test_a_key_without_scopes_has_every_scope_and_its_client_is_made_once() -> None:
    assert create("till").scopes == create("till").scopes == list(SCOPES)
    assert Client.objects.get().name == "till"


@pytest.mark.parametrize(
    "named",
    [("--scope", "orders:read", "stock:read"), ("--scope", "orders:read", "--scope", "stock:read")],
)
def test_a_key_has_the_scopes_that_were_named(named: tuple[str, ...]) -> None:
    assert create("till", *named).scopes == ["orders:read", "stock:read"]


@pytest.mark.parametrize(
    "named",
    [
        ("till", "--scope", "orders:eat"),
        ("till", "--scope"),
        ("",),
        ("a\nb",),
        ("till ",),
        ("till\u200b",),
        ("cafe\u0301",),
        ('="17"',),
        ("x" * 201,),
        (),
    ],
)
def test_what_cannot_be_is_refused_and_nobody_is_made(named: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        create(*named)
    assert not Client.objects.exists()


def test_a_client_from_before_names_had_to_be_plain_gets_a_key() -> None:
    client = Client.objects.create(name="cafe\u0301 ")
    assert create(client.name).client == client
