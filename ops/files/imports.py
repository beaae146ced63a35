"""Imports over HTTP: the list, and one while it is worked off."""

from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from ops.access import LOOK, may_operate, staff_page
from ops.places import place, serial
from ops.refusals import in_words
from orders.exports.models import Export
from orders.imports.became import UNDER_WAY
from orders.imports.errors import errors_csv
from orders.imports.files.lines import BOM
from orders.imports.models import Import, ImportFault


@require_safe
@staff_page(LOOK)
def files(request: HttpRequest) -> HttpResponse:
    """The newest imports and exports of all clients. The page asks again while one is worked on."""
    newest = settings.OPS_ROWS_MAX
    imports = list(Import.objects.select_related("client").order_by("-pk")[:newest])
    exports = list(Export.objects.select_related("client").order_by("-pk")[:newest])
    ends = [one.finished_at for one in imports] + [one.finished_at for one in exports]
    seen = {
        "imports": imports,
        "exports": exports,
        "poll_s": settings.OPS_POLL_S if None in ends else None,
        "may_operate": may_operate(request),
        "here": "files",
    }
    return render(request, "ops/files/files.html", seen)


@require_safe
@staff_page(LOOK)
def one(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """How far it is, what became of its orders, and what was refused, by lines of the file. The
    page asks again until all of that is final.
    """
    batch = get_object_or_404(Import.objects.select_related("client"), pk=import_id)
    line_number, pk = place(request, "after", _line_and_row) or (0, 0)
    faults = ImportFault.after(batch.pk, line_number, pk, settings.OPS_ROWS_MAX + 1)
    page, became = faults[: settings.OPS_ROWS_MAX], _became(batch)
    seen: dict[str, Any] = {
        "batch": batch,
        **became,
        "faults": page,
        "more": f"{page[-1].line}-{page[-1].pk}" if len(faults) > len(page) else "",
        "poll_s": settings.OPS_POLL_S if _moves(batch, became) else None,
        "here": "files",
    }
    return render(request, "ops/files/import.html", seen)


@require_safe
@staff_page(LOOK)
def errors(request: HttpRequest, import_id: UUID) -> HttpResponseBase:
    """The file that the API gives, in the language of whoever asks for it."""
    batch = get_object_or_404(Import, pk=import_id)
    say = partial(in_words, language=get_language())
    return StreamingHttpResponse(
        chain([BOM], errors_csv(batch, say)),  # with which a spreadsheet reads it as UTF-8
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="import-{batch.pk}-errors.csv"'},
    )


def _became(batch: Import) -> dict[str, Any]:
    """What became of its orders, by number: `became`; with `became_at` as it was at that moment;
    with `became_of`, of a large import that nobody has counted yet, of so many first ones alone.
    """
    number, ways = settings.IMPORT_COUNTED_ORDERS, batch.known_ways()
    if ways or batch.total <= number:
        return {"became": batch.counts(ways)["became"]}
    if kept := batch.kept_ways():
        return {"became": batch.counts(kept)["became"], "became_at": batch.ways_until}
    return {"became": batch.orders.beginning(number).ways(), "became_of": number}


def _line_and_row(text: str) -> tuple[int, int]:
    line_number, _, row = text.partition("-")
    return serial(line_number), serial(row)


def _moves(batch: Import, became: dict[str, Any]) -> bool:
    """Whether its page can still change: until it is done, and of a small one until each of its
    orders is decided.
    """
    if batch.finished_at is None:
        return True
    if batch.total > settings.IMPORT_COUNTED_ORDERS or not became["became"][UNDER_WAY]:
        return False
    return not batch.orders.are_decided()
