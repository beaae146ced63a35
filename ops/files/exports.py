"""Exports over HTTP: a new one, how far one is, and its files."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.clients import ClientField, fresh, once
from ops.models import StaffAction
from ops.refusals import sentence_of
from ops.templatetags.words import WORDS
from orders.exports import tasks
from orders.exports.files import MEDIA_TYPES
from orders.exports.models import Export, ExportPart
from orders.imports.files.reading import Format
from orders.inputs.shape import EPOCH
from orders.reports import days
from orders.states import State
from values.refused import Refused


class DayField(forms.DateField):
    """A day of the shop, not before the year of EPOCH."""

    def __init__(self, label: Any) -> None:
        widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
        super().__init__(label=label, required=False, input_formats=["%Y-%m-%d"], widget=widget)

    def validate(self, value: Any) -> None:
        super().validate(value)
        if value and not EPOCH.year <= value.year < 9999:
            raise forms.ValidationError(_("Name a day after 2000-01-01."))


class ExportForm(forms.Form):
    """Which orders, and how they are to be written."""

    client = ClientField()
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[("", gettext_lazy("any"))] + [(one.value, WORDS[one.value]) for one in State],
    )
    first = DayField(gettext_lazy("Placed from, this day included"))
    last = DayField(gettext_lazy("Placed until, this day included"))
    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        choices=[("csv", "CSV"), ("bom", gettext_lazy("CSV for Excel")), ("ndjson", "NDJSON")],
    )

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last and last < first:
            self.add_error("last", _("It must not be before the first day."))
        return self.cleaned_data

    @property
    def filters(self) -> dict[str, str]:
        """The filters as GET /v1/orders takes them."""
        cleaned, filters = self.cleaned_data, dict[str, str]()
        if cleaned["state"]:
            filters["state"] = cleaned["state"]
        if cleaned["first"]:
            before = days.midnight(cleaned["first"]) - timedelta(microseconds=1)
            filters["created_after"] = before.isoformat()
        if cleaned["last"]:
            end = days.midnight(cleaned["last"] + timedelta(days=1))
            filters["created_before"] = end.isoformat()
        return filters

    @property
    def manner(self) -> dict[str, Any]:
        """As `Export.objects.begin` takes it."""
        form = self.cleaned_data["format"]
        return {"form": Format.NDJSON if form == "ndjson" else Format.CSV, "bom": form == "bom"}


@staff_page(OPERATE)
def new(request: HttpRequest) -> HttpResponse:
    """The form of an export, and its beginning: sent twice, a form begins one."""
    form = ExportForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        sent = form.filters | {name: str(value) for name, value in form.manner.items()}
        form_id = request.POST.get("form_id", "")
        try:
            begin = partial(_begun, request.user, form)
            return redirect(once(form.cleaned_data["client"], form_id, sent, begin))
        except Refused as problem:
            form.add_error(None, sentence_of(problem))
    seen = {"form": form, "form_id": fresh(), "most": settings.EXPORT_MAX_ORDERS, "here": "files"}
    status = 422 if form.errors else 200
    return render(request, "ops/files/new_export.html", seen, status=status)


@require_safe
@staff_page(LOOK)
def one(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """One export: how far it is, and its files once it is done."""
    export = get_object_or_404(Export.objects.select_related("client"), pk=export_id)
    done = export.state == "done"
    seen = {
        "export": export,
        "files": export.parts.order_by("number").values_list("number", flat=True) if done else [],
        "poll_s": None if export.finished_at else settings.OPS_POLL_S,
        "may_operate": may_operate(request),
        "here": "files",
    }
    return render(request, "ops/files/export.html", seen)


@require_safe
@staff_page(OPERATE)
def file(request: HttpRequest, export_id: UUID, number: int) -> HttpResponse:
    """One of its files. A StaffAction says who took it, since it holds many customers."""
    parts = ExportPart.objects.select_related("export")
    part = get_object_or_404(parts, export=export_id, number=min(number, 2**31 - 1))
    form = Format(part.export.form)
    StaffAction.note(request.user, "download", f"export {export_id}", said={"file": number})
    return HttpResponse(
        bytes(part.content),
        content_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="orders-{number}.{form}"'},
    )


def _begun(by: Any, form: ExportForm) -> str:
    """Begin it in the caller's transaction; the address of its page."""
    client = form.cleaned_data["client"]
    export = Export.objects.begin(client, form.filters, **form.manner)
    tasks.begin(export)
    chosen = {"client": client.name, **form.filters}
    StaffAction.note(by, "export", f"export {export.pk}", said=chosen)
    return reverse("ops:export", args=[export.pk])
