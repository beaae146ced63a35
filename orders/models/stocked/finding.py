"""How goods are found by how they are called: by what a sku or a name begins with, whatever its
case, width and spaces.
"""

from django.db.models import Index, Q, Value
from django.db.models.functions import Collate, Concat
from django.db.models.lookups import GreaterThanOrEqual, LessThan

from orders.models.placed.finding import Folded

LAST = Value("\U0010ffff")  # no letter comes after it
SKU, NAME = (Collate(Folded(field), "C") for field in ("sku", "name"))  # in the order of letters
THERE = Q(removed_at=None)

INDEXES = [
    Index(SKU, name="stock_by_sku", condition=THERE),
    Index(NAME, name="stock_by_name", condition=THERE),
]


def beginning(key: Collate, term: str) -> Q:
    """What SKU or NAME begins with the term."""
    first = Folded(Value(term))
    return Q(GreaterThanOrEqual(key, first)) & Q(LessThan(key, Concat(first, LAST)))
