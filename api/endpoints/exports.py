"""/v1/exports: a client's orders as files, which an import reads back."""

from uuid import UUID

from django.http import Http404, HttpResponse
from ninja import Query, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.idempotency import Done, once
from api.conventions.paging import AfterId
from api.shapes.headers import IDEMPOTENCY_KEY, IN_PROGRESS, LOCATION, REPLAYED, scoped
from api.shapes.requests.orders import OrderFilter
from api.shapes.responses import exports as shapes
from orders.exports import tasks
from orders.exports.files import MEDIA_TYPES
from orders.exports.models import Export, ExportPart
from orders.imports.files.reading import Format
from values.refused import invalid

router = Router(tags=["exports"])


@router.post(
    "/orders",
    summary="Export orders to files",
    response={202: shapes.Export},
    openapi_extra=scoped(
        "orders:read",
        IDEMPOTENCY_KEY,
        headers={202: LOCATION | REPLAYED},
        conflict=f"As many exports of yours run as may, {IN_PROGRESS}.",
    ),
)
def begin_export(
    request: AuthenticatedRequest,
    narrowed: Query[OrderFilter],
    format: Format = Format.CSV,  # noqa: A002 - its name in the query
    bom: bool = False,
    after: AfterId | None = None,
) -> HttpResponse:
    """Those of your orders that a list with these parameters has, the oldest first, in files of the
    columns and bodies that an import takes. With `bom` a CSV begins with a mark that tells Excel
    that it is UTF-8.

    It is written in the background. What is not paid for comes without its card: an import of it
    needs another `token`.
    """
    if bom and format != Format.CSV:
        raise invalid(("/query/bom", "is for CSV"))
    filters = narrowed.model_dump(mode="json", exclude_none=True)

    def begin() -> Done:
        place = {"place": UUID(after)} if after else {}
        columns = {"form": format, "bom": bom, **place}
        export = Export.objects.begin(request.auth.client, filters, **columns)
        tasks.begin(export)
        return 202, f"/v1/exports/{export.pk}", shapes.Export.of(export)

    sent = {**filters, "format": format, "bom": str(bom), "after": after or ""}
    return once(request, sent, begin)


@router.get(
    "/{uuid:export_id}",
    summary="Read how far an export is",
    response=shapes.Export,
    openapi_extra=scoped("orders:read"),
)
def read_export(request: AuthenticatedRequest, export_id: UUID) -> HttpResponse:
    export = Export.objects.of(request.auth.client).filter(pk=export_id).first()
    if export is None:
        raise Http404
    return answer(shapes.Export.of(export))


@router.get(
    "/{uuid:export_id}/files/{int:number}",
    summary="Read a file of an export",
    openapi_extra=scoped("orders:read", media_type="text/csv"),
)
def read_file(request: AuthenticatedRequest, export_id: UUID, number: int) -> HttpResponse:
    own = ExportPart.objects.filter(export=export_id, export__client=request.auth.client)
    part = own.select_related("export").filter(number=number).first()
    if part is None:
        raise Http404
    form = Format(part.export.form)
    return HttpResponse(
        bytes(part.content),
        content_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="orders-{number}.{form}"'},
    )
