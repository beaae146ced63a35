"""The form of whom an order is for, where it goes and what is noted of it: what PATCH takes."""

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from pydantic import ValidationError

from ops.orders.forms.verb import VerbForm
from orders.inputs.faults import pointed
from orders.inputs.particulars import EMAIL_MAX_CHARS, NOTE_MAX_CHARS, OrderChange
from orders.models import Order
from values.refused import invalid

TEXT_MAX_CHARS = 30_000  # of a field; OrderChange says what of it can be
CUSTOMER = {
    "name": gettext_lazy("Name"),
    "phone": gettext_lazy("Phone"),
    "external_id": gettext_lazy("The shop's own id of the customer"),
}
ADDRESS = {
    "name": gettext_lazy("Name"),
    "company": gettext_lazy("Company"),
    "line1": gettext_lazy("Street and number"),
    "line2": gettext_lazy("More of the address"),
    "city": gettext_lazy("City"),
    "region": gettext_lazy("Prefecture, state or province"),
    "postal_code": gettext_lazy("Postal code"),
    "country": gettext_lazy("Country, two letters"),
    "phone": gettext_lazy("Phone"),
}
GROUPS: dict[str, tuple[Promise, dict[str, Any]]] = {
    "customer": (gettext_lazy("Customer"), CUSTOMER),
    "shipping_address": (gettext_lazy("Where it goes"), ADDRESS),
    "billing_address": (gettext_lazy("Whom the bill is for"), ADDRESS),
}
Change = tuple[str, str, str]  # its label, what was there, what is there then


class AsTyped(forms.CharField):
    """A text of which nothing is stripped: `OrderChange` decides which texts can be."""

    def __init__(
        self, label: Any, *, initial: str, rows: int = 0, most: int = TEXT_MAX_CHARS
    ) -> None:
        widget = forms.Textarea(attrs={"rows": rows}) if rows else None
        super().__init__(
            label=label,
            initial=initial,
            widget=widget,
            max_length=most,
            required=False,
            strip=False,
        )

    def to_python(self, value: Any) -> str:
        """The text as typed; the initial one when only its line breaks differ, which browsers
        change.
        """
        text = _unix(super().to_python(value))
        return str(self.initial) if text == _unix(self.initial) else text


class EditForm(VerbForm):
    """The order as it stands, to be changed. `cleaned_data` holds what is new alone: {"change":
    OrderChange, "changes": [Change]}.
    """

    def __init__(self, target: Any, data: Any = None) -> None:
        super().__init__(target, data)
        order: Order = target
        self.fields["email"] = AsTyped(
            gettext_lazy("E-mail"), initial=order.email, most=EMAIL_MAX_CHARS
        )
        self._add("customer", {name: getattr(order, f"customer_{name}") for name in CUSTOMER})
        self._add("shipping_address", order.shipping_address)
        self._add("billing_address", order.billing_address)
        for name in ADDRESS:  # where pieces were sent stays
            self.fields[f"shipping_address_{name}"].disabled = bool(order.units_fulfilled)
        self._add_notes(order)

    def _add_notes(self, order: Order) -> None:
        self.fields["note"] = AsTyped(
            gettext_lazy("Note"), initial=order.note, rows=3, most=2 * NOTE_MAX_CHARS
        )
        self.fields["tags"] = AsTyped(
            gettext_lazy("Tags, one a line"), initial="\n".join(order.tags or []), rows=3
        )
        pairs = "\n".join(f"{name}: {value}" for name, value in order.metadata.items())
        if _is_metadata(pairs, order.metadata):  # no field for what would be read back otherwise
            label = gettext_lazy("Metadata, one “name: value” a line")
            self.fields["metadata"] = AsTyped(label, initial=pairs, rows=3)

    def _add(self, group: str, was: dict[str, Any]) -> None:
        for name, label in GROUPS[group][1].items():
            self.fields[f"{group}_{name}"] = AsTyped(label, initial=was.get(name) or "")

    @property
    def groups(self) -> list[tuple[Promise | str, list[forms.BoundField]]]:
        found: list[tuple[Promise | str, list[forms.BoundField]]] = [("", [self["email"]])]
        for group, (heading, members) in GROUPS.items():
            found.append((heading, [self[f"{group}_{name}"] for name in members]))
        rest = [self[name] for name in ("note", "tags", "metadata") if name in self.fields]
        return [*found, (gettext_lazy("What is noted of it"), rest)]

    def first_answers(self) -> dict[str, Any]:
        return {"change": OrderChange.model_construct(_fields_set=set()), "changes": []}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        try:
            change = OrderChange.model_validate(self._change(cleaned))
        except ValidationError as exc:
            errors = [pointed(dict(error), skip=0) for error in exc.errors()]
            self.refuse(invalid(*dict.fromkeys(errors)))
            return cleaned
        except ValueError as exc:
            self.add_error("metadata", str(exc))
            return cleaned
        return {"change": change, "changes": self._changes(cleaned)}

    def _changes(self, cleaned: dict[str, Any]) -> list[Change]:
        return [
            (str(field.label), str(field.initial), cleaned[name])
            for name, field in self.fields.items()
            if name in cleaned and cleaned[name] != field.initial
        ]

    def _change(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """What was changed, as OrderChange takes it: a group of which a member is new is whole."""
        new = {name for name in cleaned if cleaned[name] != self.fields[name].initial}
        change: dict[str, Any] = {name: cleaned[name] for name in new & {"email", "note"}}
        for group, (_heading, members) in GROUPS.items():
            if new & {f"{group}_{member}" for member in members}:
                change[group] = {m: cleaned.get(f"{group}_{m}") or None for m in members}
        if "tags" in new:
            change["tags"] = [tag.strip() for tag in cleaned["tags"].split("\n") if tag.strip()]
        if "metadata" in new:
            change["metadata"] = _metadata(cleaned["metadata"])
        return change


def _metadata(text: str) -> dict[str, str]:
    """The pairs of a text with one a line. Raises ValueError with a sentence for another line, or a
    name that stands twice.
    """
    found: dict[str, str] = {}
    for pair in text.split("\n"):
        name, colon, value = pair.partition(":")
        if colon and name.strip() not in found:
            found[name.strip()] = value.removeprefix(" ")
        elif pair.strip():
            raise ValueError(_("“%(line)s” is no line like “name: value”.") % {"line": pair[:40]})
    return found


def _is_metadata(text: str, metadata: dict[str, str]) -> bool:
    try:
        return _metadata(text) == metadata
    except ValueError:
        return False


def _unix(text: Any) -> str:
    return str(text).replace("\r\n", "\n").replace("\r", "\n")
