"""A client's shop as staff set it: by the rule of `manage.py shop set`."""

import json
from typing import Any

from django import forms
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from notifications.models import Shop
from ops.models import StaffAction
from ops.refusals import errors_of
from ops.staff.keys import subject_of
from orders.inputs.shop import FIELDS, typed
from orders.models import Client
from values.refused import Refused
from values.shop import LANGUAGES

LABELS: dict[str, Any] = {
    "name": gettext_lazy("Name of the shop"),
    "logo_url": gettext_lazy("Address of its logo (https)"),
    "contact": gettext_lazy("How customers reach it"),
    "reply_to": gettext_lazy("Where answers to its mails go"),
    "imprint": gettext_lazy("Imprint, under its mails"),
    "time_zone": gettext_lazy("Time zone, like Asia/Tokyo"),
    "language": gettext_lazy("Language"),
    "reservation_minutes": gettext_lazy("Minutes for which goods are set aside"),
    "withdrawal_days": gettext_lazy("Days for which a customer may withdraw; 0: not at all"),
}
LONG = ("contact", "imprint")


class Overtaken(Exception):
    """Somebody else has set it meanwhile."""


class ShopForm(forms.Form):
    """Texts, as a person types them; what is left empty is as the installation has it, which its
    placeholder shows.
    """

    def __init__(self, own: dict[str, Any], lent: Shop, data: Any = None) -> None:
        super().__init__(data, initial=own)
        for name in FIELDS:
            placeholder = {"placeholder": getattr(lent, name) if name in lent.lent else ""}
            self.fields[name] = forms.CharField(
                label=LABELS[name],
                required=False,
                strip=False,
                widget=forms.Textarea({"rows": 3, **placeholder})
                if name in LONG
                else forms.TextInput(placeholder),
            )
        languages = [("", _("as the installation has it")), *((one, one) for one in LANGUAGES)]
        self.fields["language"] = forms.ChoiceField(
            label=LABELS["language"], required=False, choices=languages
        )

    def clean(self) -> dict[str, Any]:
        texts = {
            name: str(self.cleaned_data.get(name, "")).replace("\r\n", "\n") for name in FIELDS
        }
        try:
            return typed(texts)
        except Refused as problem:
            for pointer, message in errors_of(problem):
                self.add_error(pointer[1:], message)
        return {}


def own_of(client: Client) -> dict[str, Any]:
    """The fields of the client's own shop; empty where the installation's are used."""
    row = Shop.objects.filter(pk=client.pk).first() or Shop(owner=client.pk)
    return _fields_of(row)


def seen_of(own: dict[str, Any]) -> str:
    """The fields as a form showed them, to be compared with what they are when it is sent."""
    return json.dumps(own)


def set_all(client: Client, cleaned: dict[str, Any], *, seen: str, by: Any) -> None:
    """Set every field of the shop. Raises Overtaken when it does not stand as `seen_of` had it."""
    with transaction.atomic():
        row = Shop.objects.locked(client.pk)
        before = _fields_of(row)
        if seen_of(before) != seen:
            raise Overtaken
        row.change(cleaned)
        after = _fields_of(row)
        changed = {name: after[name] for name in FIELDS if before[name] != after[name]}
        if changed:
            noted = {"before": before, "after": after, "said": changed}
            StaffAction.note(by, "shop_settings", subject_of(client), **noted)


def _fields_of(row: Shop) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in FIELDS}
    return {name: "" if value is None else value for name, value in values.items()}
