"""Forms of verbs that need a word or two."""

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from pydantic import TypeAdapter, ValidationError

from ops.refusals import errors_of, in_words
from orders.models.remark import REMARK_MAX_CHARS
from values.refused import Refused
from values.texts import Line

LINE: TypeAdapter[str] = TypeAdapter(Line)


class LineField(forms.CharField):
    """One line of text, by the rule of the API; or an empty one."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return LINE.validate_python(text) if text else ""
        except ValidationError as exc:
            raise forms.ValidationError(
                [in_words(error["msg"]) for error in exc.errors()]
            ) from None


class VerbForm(forms.Form):
    """The form of a verb that needs no more than a yes; others add their fields. `target` is the
    order or the part that it is about.
    """

    def __init__(self, target: Any, data: Any = None) -> None:
        super().__init__(data)
        self.target = target

    @property
    def groups(self) -> list[tuple[Promise | str, list[forms.BoundField]]]:
        """Fields that belong together, under a heading; the first ones need none."""
        return [("", list(self))]

    def first_answers(self) -> dict[str, Any]:
        """What `cleaned_data` is as long as nobody has changed anything."""
        first: dict[str, Any] = {}
        for name, field in self.fields.items():
            choices = getattr(field, "choices", None)
            first[name] = choices[0][0] if choices else field.initial or field.to_python("")
        return first

    def refuse(self, problem: Refused) -> None:
        """Put each error of a problem at its field; where there is none, above the form."""
        for pointer, message in errors_of(problem):
            steps = pointer.split("/")[1:]
            named = [name for name in ("_".join(steps), *steps[:1]) if name in self.fields]
            self.add_error(named[0] if named else None, message)


class HoldForm(VerbForm):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("requested", gettext_lazy("Somebody asked for it")),
            ("address_unclear", gettext_lazy("The address is unclear (the customer is told)")),
            ("delayed", gettext_lazy("It takes longer (the customer is told)")),
        ],
    )


class CancelForm(VerbForm):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("requested_by_customer", gettext_lazy("The customer asked for it")),
            ("staff", gettext_lazy("The shop's own decision")),
        ],
    )


class PaidForm(VerbForm):
    reference = LineField(
        label=gettext_lazy("Reference, as it stands on the statement"),
        required=False,
        max_length=200,
    )


class NoteForm(VerbForm):
    text = LineField(
        label=gettext_lazy("What the others should know, in a sentence"),
        max_length=REMARK_MAX_CHARS,
    )
