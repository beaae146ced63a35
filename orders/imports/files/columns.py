"""The columns of a CSV of orders, and where each stands in the body of an order: what an import
reads and an export writes.
"""

Place = tuple[str, ...]  # the names that lead there

REQUIRED = tuple("external_id currency email sku name quantity unit_price total".split())
# one of which says how it is paid for
PAYMENT = ("token", "method", "paid_at", "cancelled_at")
ADDRESS = "name company line1 line2 city region postal_code country phone".split()
HISTORY = "number placed_at paid_at fulfilled_at cancelled_at reason refunds shipping_refunded"

# of the order: in its first row; blank in its further rows, they are as above
OF_THE_ORDER: dict[str, Place] = {
    **{name: (name,) for name in ("currency", "email", "total", "locale")},
    **{name: ("payment", name) for name in ("token", "method")},
    "shipping": ("shipping", "amount"),
    "shipping_tax": ("shipping", "tax"),
    **{f"customer_{name}": ("customer", name) for name in ("name", "phone", "external_id")},
    **{f"shipping_{name}": ("shipping_address", name) for name in ADDRESS},
    **{f"billing_{name}": ("billing_address", name) for name in ADDRESS},
    **{name: (name,) for name in f"note tags metadata {HISTORY}".split()},
}
COUNTED = tuple("fulfilled withdrawn returned units_refunded refunded".split())  # of a line
OF_THE_LINE = tuple("sku name quantity unit_price discount tax".split()) + COUNTED
COLUMNS = tuple(dict.fromkeys((*REQUIRED, *OF_THE_ORDER, *OF_THE_LINE)))
AMOUNTS = frozenset("unit_price discount tax total shipping shipping_tax".split()) | {
    "refunded",
    "shipping_refunded",
}
COUNTS = frozenset(("quantity", "fulfilled", "withdrawn", "returned", "units_refunded"))
LISTS = frozenset(("tags",))  # separated by commas, or as JSON
JSON = frozenset(("metadata", "refunds"))

_COLUMN_AT = {place: column for column, place in OF_THE_ORDER.items()} | {("payment",): "token"}


def column_at(pointer: str) -> str:
    """The column of whatever this JSON pointer into the body of an order leads to."""
    place = tuple(pointer.split("/")[1:])
    while place and place not in _COLUMN_AT:
        place = place[:-1]
    return _COLUMN_AT.get(place) or pointer.rpartition("/")[2]
