"""The orders of an import that were refused, or accepted and then unmet, as a CSV with reasons."""

import csv
import io
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import batched
from operator import itemgetter

from orders.imports.models import Import, ImportFault
from values.csv_cells import harmless
from values.refused import Sentence

PAGE = 1000
Entry = tuple[int, str, str, str]  # line, external_id, field and reason
BECAME = {
    "sold_out": Sentence(
        "was accepted, and cancelled because it was sold out; may be imported again"
    ),
    "declined": Sentence(
        "was accepted, and cancelled because its payment was declined; may be imported again"
    ),
    "expired": Sentence(
        "was accepted, and cancelled because nobody paid in time; may be imported again"
    ),
}


def errors_csv(batch: Import, say: Callable[[str], str] = str) -> Iterator[str]:
    """The text of the file, in pieces, by lines; any number of orders costs no more memory than a
    page of each kind. `say` puts a reason into the language of its reader.
    """
    yield _csv_text([("line", "external_id", "field", "reason")])
    by_line = merge(_refused(batch), _unmet(batch), key=itemgetter(0))
    for page in batched(by_line, PAGE):
        yield _csv_text([_cells(entry, say) for entry in page])


def _refused(batch: Import) -> Iterator[Entry]:
    line_number, pk = 0, 0
    while page := ImportFault.after(batch.pk, line_number, pk, PAGE):
        for fault in page:
            yield fault.line, fault.external_id, fault.field, fault.sentence
        line_number, pk = page[-1].line, page[-1].pk


def _unmet(batch: Import) -> Iterator[Entry]:
    for line_number, name, way in batch.orders.unmet_by_line(PAGE):
        yield line_number, name, "", BECAME[way]


def _cells(entry: Entry, say: Callable[[str], str]) -> tuple[str, ...]:
    line_number, name, field, reason = entry
    return str(line_number), name, field, say(reason)


def _csv_text(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue()
