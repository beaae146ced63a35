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
            shown = {"placeholder": getattr(lent, name) if name in lent.lent else ""}
            widget = forms.Textarea({"rows": 3, **shown}) if name in LONG else None
            self.fields[name] = forms.CharField(
                label=LABELS[name],
                required=False,
                strip=False,
                widget=widget or forms.TextInput(shown),
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
    """What it says itself; empty where the installation does."""
    row = Shop.objects.filter(pk=client.pk).first() or Shop(owner=client.pk)
    return _said_by(row)


def seen_of(own: dict[str, Any]) -> str:
    """What a form was filled in beside."""
    return json.dumps(own)


def say(client: Client, said: dict[str, Any], *, seen: str, by: Any) -> None:
    """Set all of it. Raises Overtaken when it does not stand as it was seen."""
    with transaction.atomic():
        row = Shop.objects.locked(client.pk)
        before = _said_by(row)
        if seen_of(before) != seen:
            raise Overtaken
        row.change(said)
        after = _said_by(row)
        changed = [name for name in FIELDS if before[name] != after[name]]
        if changed:
            said = {name: after[name] for name in changed}
            shown = {"before": before, "after": after, "said": said}
            StaffAction.note(by, "shop_settings", subject_of(client), **shown)


def _said_by(row: Shop) -> dict[str, Any]:
    return {name: "" if (value := getattr(row, name)) is None else value for name in FIELDS}
