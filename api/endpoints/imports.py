"""/v1/imports: a file of orders comes in at once, and is worked off while its sender looks on."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO, Literal
from uuid import UUID

from django.http import Http404, HttpResponse, StreamingHttpResponse
from ninja import Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.idempotency import Done, idempotency_key, once
from api.shapes.headers import IDEMPOTENCY_KEY, IN_PROGRESS, LOCATION, REPLAYED, scoped
from api.shapes.responses import imports as shapes
from orders.imports import tasks
from orders.imports.errors import errors_csv
from orders.imports.files.columns import COLUMNS, PAYMENT, REQUIRED
from orders.imports.files.csv_rows import Amounts
from orders.imports.files.encoding import UTF_8, named
from orders.imports.files.lines import ONE_OF_THEM, Row
from orders.imports.files.reading import Format, Manner, staged
from orders.imports.models import Import
from orders.imports.taking import place_for, room_on_the_disk
from orders.imports.trial import tried
from values.refused import Refused, invalid

router = Router(tags=["imports"])

MEDIA_TYPES = {"text/csv": Format.CSV, "application/x-ndjson": Format.NDJSON}
PIECE_BYTES = 64 * 1024
Encoding = Literal["utf-8", "utf-16", "shift_jis", "windows-1252"]  # of ENCODINGS
ABOUT = f"""NDJSON, an order body per line; or CSV, a row per order line, whose columns are named by
its first row, in any order: {", ".join(REQUIRED)}; one or more of {", ".join(PAYMENT)}; and if
you like {", ".join(COLUMNS[len(REQUIRED) :])}. Rows with one `external_id` are the lines of one
order; what is said of the order may be blank in its further rows.

**Orders that were placed elsewhere** have a `paid_at`, and no token: no card is charged. They come
into the book under their own `number`, with their dates, and with what became of them. With
`quiet=true` no customer is mailed about this import.

Amounts are whole numbers of the currency's smallest unit: 1250 for €12.50, 300 for ¥300. With
`amounts=major` they are written as people do, 12.50 and 300, by the currency's own digits. Without
that, a file in which one amount has decimals is not taken: what the others count is in doubt.

The separator may be a comma, a semicolon, a tab or |. The encoding is UTF-8, UTF-16 with its mark,
or what the `charset` of the Content-Type or `encoding` says. With `dry_run=true` nothing is
written, and the answer is 200 with everything that an import would refuse. Otherwise the file is
taken in as a whole or not at all.
"""
FILE = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in reversed(MEDIA_TYPES)  # generated clients send the last: CSV
        },
    }
}


@router.post(
    "",
    summary="Import a file of orders",
    description=ABOUT,
    response={202: shapes.Import, 200: shapes.Trial},
    openapi_extra=FILE
    | scoped(
        "imports:write",
        IDEMPOTENCY_KEY,
        headers={202: LOCATION | REPLAYED},
        conflict=f"As many imports of yours run as may, {IN_PROGRESS}.",
    ),
)
def begin_import(
    request: AuthenticatedRequest,
    amounts: Amounts = Amounts.MINOR,
    encoding: Encoding | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> HttpResponse:
    manner = manner_of(request, amounts, encoding)._replace(quiet=quiet)
    client = request.auth.client

    def accept(rows: Iterable[Row]) -> Done:
        batch = Import.objects.accept(client, rows, manner)
        tasks.begin(batch)
        return 202, f"/v1/imports/{batch.pk}", shapes.Import.of(batch)

    with (
        place_for(client.pk),
        room_on_the_disk(),
        spooled(request) as (file, digest),
        staged(file, manner) as rows,
    ):
        if dry_run:
            idempotency_key(request)  # so that the same call without `dry_run` is taken
            return answer(shapes.Trial.of(tried(client, rows, manner)))
        sent = {"format": manner.form, "sha256": digest, **_otherwise(manner)}
        return once(request, sent, lambda: accept(rows))


@router.get(
    "/{uuid:import_id}",
    summary="Read how far an import is",
    response=shapes.Import,
    openapi_extra=scoped("imports:write"),
)
def read_import(request: AuthenticatedRequest, import_id: UUID) -> HttpResponse:
    return answer(shapes.Import.of(_own_import(request, import_id)))


@router.get(
    "/{uuid:import_id}/errors.csv",
    summary="Read which orders of an import failed, and why",
    openapi_extra=scoped("imports:write", media_type="text/csv"),
)
def read_errors(request: AuthenticatedRequest, import_id: UUID) -> StreamingHttpResponse:
    batch = _own_import(request, import_id)
    name = f'attachment; filename="import-{batch.pk}-errors.csv"'
    return StreamingHttpResponse(
        errors_csv(batch),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": name},
    )


@contextmanager
def spooled(request: AuthenticatedRequest) -> Iterator[tuple[BinaryIO, str]]:
    """The whole body in a file of this dyno, at its start, and its SHA-256: no transaction waits
    for a slow sender.

    Raises a 400 problem for one that breaks off. One that is too large has not come so far
    (config.web.middleware).
    """
    expected = int(request.META.get("CONTENT_LENGTH") or 0)
    digest = hashlib.sha256()
    with TemporaryFile() as file:
        while piece := request.read(PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
        if (size := file.tell()) != expected:
            raise Refused("body-incomplete", f"It broke off after {size} of {expected} bytes.")
        file.seek(0)
        yield file, digest.hexdigest()


def manner_of(request: AuthenticatedRequest, amounts: Amounts, encoding: Encoding | None) -> Manner:
    """How the body says that it is to be read. Raises a problem for what it cannot be."""
    form = MEDIA_TYPES.get(request.content_type or "")
    charset = named((request.content_params or {}).get("charset", UTF_8))
    if form is None or charset is None:
        kinds = f"{' or '.join(MEDIA_TYPES)}, in {ONE_OF_THEM}"
        raise Refused("unsupported-media-type", f"Send {kinds}.")
    if form == Format.NDJSON:
        _as_ndjson_is(amounts, encoding, charset)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(
            "unsupported-media-type", "Send the file as it is, without a Content-Encoding."
        )
    return Manner(form, amounts, encoding or charset)


def _as_ndjson_is(amounts: Amounts, encoding: Encoding | None, charset: str) -> None:
    """Raises a problem for what a CSV only may be."""
    if charset != UTF_8:
        raise Refused("unsupported-media-type", "Send NDJSON in UTF-8.")
    if encoding not in (None, UTF_8):
        raise invalid(("/query/encoding", "is for CSV; NDJSON is UTF-8"))
    if amounts == Amounts.MAJOR:
        raise invalid(("/query/amounts", "is for CSV; NDJSON has the bodies of POST /v1/orders"))


def _otherwise(manner: Manner) -> dict[str, str]:
    """What makes another request of the same file."""
    usual = Manner(manner.form)
    pairs = zip(Manner._fields, manner, usual, strict=True)
    return {name: str(value) for name, value, default in pairs if value != default}


def _own_import(request: AuthenticatedRequest, import_id: UUID) -> Import:
    batch = Import.objects.filter(pk=import_id, client=request.auth.client).first()
    if batch is None:
        raise Http404
    return batch
