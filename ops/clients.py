"""Clients to choose from, and what a form does for one of them once, however often it is sent."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders.models import Client, IdempotencyKey
from values.refused import Refused, invalid


def first_clients() -> list[Client]:
    """The first OPS_CLIENTS_MAX clients by name."""
    return list(Client.objects.order_by("name")[: settings.OPS_CLIENTS_MAX])


def _choices() -> list[tuple[str, str]]:
    return [(str(client.pk), client.name) for client in first_clients()]


class ClientField(forms.ChoiceField):
    """A choice among the first clients; its cleaned value is the Client."""

    def __init__(self) -> None:
        super().__init__(label=gettext_lazy("Client"), choices=_choices)

    def clean(self, value: Any) -> Client:
        return Client.objects.get(pk=super().clean(value))


def fresh() -> str:
    """The `form_id` of a new form, so that it acts once."""
    return str(uuid4())


def once(client: Client, form_id: str, sent: Any, act: Callable[[], str]) -> str:
    """The address that the form leads to: what `act` returned when the form was first sent, in one
    transaction with what it did.

    Raises a 422 problem when the form was first sent with something else than `sent`, and a 409
    problem while that is still under way.
    """
    try:
        key = f"staff {UUID(form_id)}"
    except ValueError:
        raise invalid(("", _("Open the form anew."))) from None
    with transaction.atomic():
        kept = IdempotencyKey.objects.begin(client, key, sent)
        if not kept.answered:
            kept.answer(status=303, location=act(), body="")
    if kept.location is None:
        raise Refused("invalid", _("Open the form anew."))
    return kept.location
