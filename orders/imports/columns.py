"""The columns of a CSV of orders, and where each stands in the body of an order: what an import
reads and an export writes.
"""

Place = tuple[str, ...]  # the names that lead there

REQUIRED = ("external_id", "currency", "email", "sku", "name", "quantity", "unit_price", "total")
ADDRESS = ("name", "company", "line1", "line2", "city", "region", "postal_code", "country", "phone")
# one of which says what is still to be paid, and how
PAYMENT = ("token", "method", "paid_at", "cancelled_at")

# said once for an order; blank in its further rows, they are as above
OF_THE_ORDER: dict[str, Place] = {
    "currency": ("currency",),
    "email": ("email",),
    "total": ("total",),
    "token": ("payment", "token"),
    "method": ("payment", "method"),
    "locale": ("locale",),
    "shipping": ("shipping", "amount"),
    "shipping_tax": ("shipping", "tax"),
    **{f"customer_{name}": ("customer", name) for name in ("name", "phone", "external_id")},
    **{f"shipping_{name}": ("shipping_address", name) for name in ADDRESS},
    **{f"billing_{name}": ("billing_address", name) for name in ADDRESS},
    "note": ("note",),
    "tags": ("tags",),
    "metadata": ("metadata",),
    "number": ("number",),
    "placed_at": ("placed_at",),
    "paid_at": ("paid_at",),
    "fulfilled_at": ("fulfilled_at",),
    "cancelled_at": ("cancelled_at",),
    "reason": ("reason",),
    "refunds": ("refunds",),
    "shipping_refunded": ("shipping_refunded",),
}
OF_THE_LINE = (
    "sku",
    "name",
    "quantity",
    "unit_price",
    "discount",
    "tax",
    "fulfilled",
    "withdrawn",
    "returned",
    "units_refunded",
    "refunded",
)
COLUMNS = (*REQUIRED, *(name for name in (*OF_THE_ORDER, *OF_THE_LINE) if name not in REQUIRED))
AMOUNTS = frozenset(
    (
        "unit_price",
        "discount",
        "tax",
        "refunded",
        "total",
        "shipping",
        "shipping_tax",
        "shipping_refunded",
    )
)
COUNTS = frozenset(("quantity", "fulfilled", "withdrawn", "returned", "units_refunded"))
LISTS = frozenset(("tags",))  # separated by commas, or as JSON
JSON = frozenset(("metadata", "refunds"))

_AT = {place: column for column, place in OF_THE_ORDER.items()} | {("payment",): "token"}


def column_at(pointer: str) -> str:
    """The column of what a JSON pointer into an order leads to."""
    place = tuple(pointer.split("/")[1:])
    while place and place not in _AT:
        place = place[:-1]
    return _AT.get(place) or pointer.rpartition("/")[2]
