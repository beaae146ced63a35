"""How staff say which jobs they mean."""

from difflib import get_close_matches
from typing import Any
from uuid import UUID

from celery import current_app
from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy

from celery_ledger import Pause, PauseKind, State, asked
from ops.jobs.choosing import Chosen
from orders.models import Client

ANY = ("", gettext_lazy("any"))
STATES = {
    State.WAITING: gettext_lazy("waiting"),
    State.RUNNING: gettext_lazy("running"),
    State.DONE: gettext_lazy("done"),
    State.DEAD: gettext_lazy("dead"),
    State.CANCELLED: gettext_lazy("cancelled"),
}


class ChosenForm(forms.Form):
    """A filter of jobs; every field may be empty."""

    state = forms.ChoiceField(
        label=gettext_lazy("State"), required=False, choices=[ANY, *STATES.items()]
    )
    task = forms.CharField(
        label=gettext_lazy("Task"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"list": "tasks"}),
    )
    queue = forms.ChoiceField(label=gettext_lazy("Queue"), required=False)
    owner = forms.CharField(label=gettext_lazy("Client"), required=False, max_length=200)
    about = forms.CharField(
        label=gettext_lazy("An order, or an argument"), required=False, max_length=200
    )
    since = forms.CharField(
        label=gettext_lazy("Promised since (2h, 7d, 2026-11-30)"), required=False, max_length=40
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        queues = [(name, name) for name in settings.LEDGER["QUEUES"]]
        self.fields["queue"].choices = [ANY, *queues]  # type: ignore[attr-defined]

    @property
    def chosen(self) -> Chosen:
        """The filter of a valid form."""
        return Chosen(**self.cleaned_data)

    def clean_task(self) -> str:
        text = str(self.cleaned_data["task"])
        tasks = known_tasks()
        if text and text not in tasks:
            so_called = [name for name in tasks if name.rpartition(".")[2] == text]
            close = ", ".join(so_called or get_close_matches(text, tasks))
            raise forms.ValidationError(
                gettext_lazy("No task is called so. Is it one of these: %(close)s?"),
                params={"close": close or "–"},
            )
        return text

    def clean_owner(self) -> str:
        """The client's id, which a job has; it may be typed, or the client's name."""
        text = str(self.cleaned_data["owner"])
        if not text:
            return ""
        client = Client.objects.filter(name=text).first()
        try:
            return str(client.pk if client else UUID(text))
        except ValueError:
            raise forms.ValidationError(gettext_lazy("No client is called so.")) from None

    def clean_since(self) -> str:
        text = self.cleaned_data["since"]
        try:
            return asked.since(text).isoformat() if text else ""
        except asked.Misunderstood as exc:
            raise forms.ValidationError(str(exc)) from None


class PauseForm(forms.Form):
    """The queue, task or entry of the schedule that is paused, resumed or run now."""

    kind = forms.ChoiceField(choices=PauseKind.choices)
    name = forms.CharField(max_length=200)
    note = forms.CharField(required=False, max_length=200)

    def clean(self) -> dict[str, Any]:
        names = {
            PauseKind.QUEUE: settings.LEDGER["QUEUES"],
            PauseKind.TASK: known_tasks(),
            PauseKind.SCHEDULE: current_app.conf.beat_schedule,
        }
        kind, name = self.cleaned_data.get("kind", ""), self.cleaned_data.get("name")
        is_paused = Pause.objects.filter(kind=kind, name=name).exists()  # of a release before
        if name and name not in names.get(kind, ()) and not is_paused:
            raise forms.ValidationError(gettext_lazy("Nothing is called so."))
        return self.cleaned_data

    @property
    def sentences(self) -> list[str]:
        """What is wrong with it."""
        return [str(message) for errors in self.errors.values() for message in errors]


def known_tasks() -> list[str]:
    """The names of all tasks but Celery's own, also of those that nobody has imported yet."""
    current_app.loader.import_default_modules()
    return sorted(name for name in current_app.tasks if not name.startswith("celery."))
