"""What was refused of an import and what was unmet, as a CSV."""

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
    """What was refused and what was unmet, by lines; any number of them costs no more memory than a
    page of each. `say` puts a reason into the language of whoever reads it.
    """
    yield _csv_text([("line", "external_id", "field", "reason")])
    unmet = ((line, name, "", BECAME[way]) for line, name, way in batch.orders.unmet_by_line(PAGE))
    for page in batched(merge(_refused(batch), unmet, key=itemgetter(0)), PAGE):
        yield _csv_text([(str(line), name, field, say(why)) for line, name, field, why in page])


def _refused(batch: Import) -> Iterator[tuple[int, str, str, str]]:
    line_number, pk = 0, 0
    while page := ImportFault.after(batch.pk, line_number, pk, PAGE):
        yield from ((one.line, one.external_id, one.field, one.said) for one in page)
        line_number, pk = page[-1].line, page[-1].pk


def _csv_text(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue()
