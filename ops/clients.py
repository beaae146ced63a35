"""Clients to choose from, and what is done for one of them once, however often it is pressed."""

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
    """OPS_CLIENTS_MAX at most, by name."""
    return list(Client.objects.order_by("name")[: settings.OPS_CLIENTS_MAX])


class ClientField(forms.ChoiceField):
    """Comes to the Client."""

    def __init__(self) -> None:
        choices = lambda: [(str(one.pk), one.name) for one in first_clients()]  # noqa: E731
        super().__init__(label=gettext_lazy("Client"), choices=choices)

    def clean(self, value: Any) -> Client:
        return Client.objects.get(pk=super().clean(value))


def fresh() -> str:
    """What a form carries so that it acts once."""
    return str(uuid4())


def once(client: Client, form_id: str, sent: Any, act: Callable[[], str]) -> str:
    """Where the form leads to: what `act` returned, in the transaction of the first press.

    Raises a 422 problem for a form of something else than `sent`, and a 409 problem while its first
    press is still under way.
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
