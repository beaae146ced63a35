"""The one page that takes a file: an import by staff, which is first shown what it would do.

A file reaches the disk only for somebody who is logged in and may act: that is asked before the
body is read, and the form's own token after it.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from ops.access import OPERATE, staff_page
from ops.clients import ClientField, fresh, once
from ops.models import StaffAction
from ops.refusals import errors_of, sentence_of
from orders.imports import tasks
from orders.imports.files.csv_rows import Amounts
from orders.imports.files.encoding import ENCODINGS, UTF_8
from orders.imports.files.reading import Format, Manner, Stage, staged
from orders.imports.models import Import
from orders.imports.taking import place_for, room_on_the_disk
from orders.imports.trial import tried
from values.refused import Refused

FORMS = {".csv": Format.CSV, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON}


class ImportForm(forms.Form):
    """A file and how it is to be read, as POST /v1/imports takes both."""

    client = ClientField()
    file = forms.FileField(label=gettext_lazy("File, .csv or .ndjson"), max_length=200)
    amounts = forms.ChoiceField(
        label=gettext_lazy("Amounts"),
        choices=[
            (Amounts.MINOR.value, gettext_lazy("in the smallest unit: 1250 for €12.50")),
            (Amounts.MAJOR.value, gettext_lazy("as people write them: 12.50")),
        ],
    )
    encoding = forms.ChoiceField(
        label=gettext_lazy("Encoding"), choices=[(name, name) for name in ENCODINGS]
    )
    quiet = forms.BooleanField(
        label=gettext_lazy("Mail no customer about these orders"), required=False
    )

    def clean(self) -> dict[str, Any]:
        cleaned, form = self.cleaned_data, None
        if "file" in cleaned:
            form = FORMS.get(PurePath(cleaned["file"].name).suffix.lower())
            if form is None:
                self.add_error("file", _("Its name must end in .csv, .ndjson or .jsonl."))
        if form == Format.NDJSON and cleaned.get("amounts") == Amounts.MAJOR:
            self.add_error("amounts", _("NDJSON has whole numbers of the smallest unit."))
        if form == Format.NDJSON and cleaned.get("encoding") not in (None, UTF_8):
            self.add_error("encoding", _("NDJSON is UTF-8."))
        return {**cleaned, "form": form}

    @property
    def manner(self) -> Manner:
        cleaned = self.cleaned_data
        amounts = Amounts(cleaned["amounts"])
        return Manner(cleaned["form"], amounts, cleaned["encoding"], cleaned["quiet"])

    @property
    def seal(self) -> str:
        """A digest of the whole form and its file: only what was looked at is imported."""
        fields = [str(self.cleaned_data["client"].pk), *map(str, self.manner)]
        digest = hashlib.sha256(json.dumps(fields).encode())
        for piece in self.cleaned_data["file"].chunks():
            digest.update(piece)
        return digest.hexdigest()


def taking_a_file(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view with the request's body read, its file on the disk. 503 when the disk is full."""

    def take(request: HttpRequest) -> HttpResponse:
        request.upload_handlers = [TemporaryFileUploadHandler(request)]
        try:
            with room_on_the_disk():
                request.POST  # noqa: B018 - reads the body
        except Refused as problem:
            seen = {"refusals": [sentence_of(problem)], "here": "files"}
            return render(request, "ops/files/new_import.html", seen, status=503)
        return view(request)

    return take


@csrf_exempt  # until the file may be read
@staff_page(OPERATE)
@taking_a_file
@csrf_protect
def new_import(request: HttpRequest) -> HttpResponse:
    """With the `seal` of what was looked at, the file is imported; else the page shows what an
    import would do.
    """
    posts = request.method == "POST"
    form = ImportForm(request.POST if posts else None, request.FILES if posts else None)
    seen: dict[str, Any] = {"form": form, "form_id": fresh(), "here": "files"}
    seen["by_htmx"] = "HX-Request" in request.headers  # which shows the outcome only
    seen["max_mb"] = settings.IMPORT_MAX_BYTES // 1024**2
    if form.is_valid():
        try:
            if location := _taken(request, form, seen):
                return redirect(location)
        except Refused as problem:
            seen["refusals"] = [_of_the_file(*error) for error in errors_of(problem)]
    status = 422 if form.errors or "refusals" in seen else 200
    return render(request, "ops/files/new_import.html", seen, status=status)


def _taken(request: HttpRequest, form: ImportForm, seen: dict[str, Any]) -> str | None:
    """The address of the import's page; None for a dry run, whose outcome is added to `seen`."""
    client, file, manner = form.cleaned_data["client"], form.cleaned_data["file"], form.manner
    with place_for(client.pk), room_on_the_disk(), staged(file.file, manner) as rows:
        seal = form.seal
        looks = "look" in request.POST
        if not looks and request.POST.get("seal") == seal:
            sent = {"seal": seal}
            begin = partial(_begun, request.user, form, rows)
            return once(client, request.POST.get("form_id", ""), sent, begin)
        seen["is_another"] = "seal" in request.POST and not looks
        seen |= {"trial": tried(client, rows, manner), "seal": seal, "file": file.name}
        seen["faults"] = seen["trial"].faults[: settings.OPS_TRIAL_FAULTS]
    return None


def _begun(by: Any, form: ImportForm, rows: Stage) -> str:
    """Begin it in the caller's transaction; the address of its page."""
    client, file = form.cleaned_data["client"], form.cleaned_data["file"]
    batch = Import.objects.accept(client, rows, form.manner)
    tasks.begin(batch)
    what = {"client": client.name, "file": file.name, "sha256": _sha256(file)}
    StaffAction.note(by, "import", f"import {batch.pk}", said=what, after={"total": batch.total})
    return reverse("ops:import", args=[batch.pk])


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    return digest.hexdigest()


def _of_the_file(pointer: str, message: str) -> str:
    return f"{pointer.lstrip('/')}: {message}" if pointer.strip("/") else message
