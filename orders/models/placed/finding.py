"""How an order is found: what each parameter of a list asks for, and the indexes that answer it.

An index of an expression is used by whoever asks with the same expression, so both stand here.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db.models import F, Func, Index, Q, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, Lower, NullIf
from django.db.models.lookups import Exact, IsNull

from values.ids import CLOCK_SKEW, first_id

PHONE_DIGITS = 8  # the last ones: those before them may be a country's, or a zero in its place


class Folded(Func):
    """In SQL: a name without its spaces, whatever its case and width; NULL for none."""

    template = "NULLIF(lower(replace(normalize(%(expressions)s, NFKC), ' ', '')), '')"
    output_field = TextField()


class LastDigits(Func):
    """In SQL: the last digits of a phone number, however it is written; NULL for none."""

    template = (
        "NULLIF(right(regexp_replace(normalize(%(expressions)s, NFKC), '[^0-9]', '', 'g'), "
        f"{PHONE_DIGITS}), '')"
    )
    output_field = TextField()


def _of_the_customer(member: str) -> Coalesce:
    """What the order has of the customer, or else of whom the goods go to."""
    column = NullIf(f"customer_{member}", Value(""))
    return Coalesce(column, KT(f"shipping_address__{member}"), output_field=TextField())


EMAIL = Lower("email")
NAME = Folded(_of_the_customer("name"))
PHONE = LastDigits(_of_the_customer("phone"))
NEWEST = F("id").desc()

INDEXES = [
    Index(name="order_by_client", fields=["client", "-id"]),
    Index(name="order_by_state", fields=["client", "state", "-id"]),
    Index(name="order_by_payment", fields=["client", "payment_state", "-id"]),
    Index(name="order_by_fulfilment", fields=["client", "fulfilment_state", "-id"]),
    Index(name="order_by_held", fields=["client", "-id"], condition=Q(held=True)),
    Index(F("client"), EMAIL, NEWEST, name="order_by_mail"),
    Index(F("client"), NAME, NEWEST, name="order_by_name", condition=Q(IsNull(NAME, False))),
    Index(F("client"), PHONE, NEWEST, name="order_by_phone", condition=Q(IsNull(PHONE, False))),
    # newest first of those that have any: a tag of many is found on it, one of few on the other
    Index(name="order_tagged", fields=["client", "-id"], condition=Q(tags__isnull=False)),
    GinIndex(name="order_by_tag", fields=["tags"], condition=Q(tags__isnull=False)),
    Index(name="order_by_change", fields=["client", "updated_at", "id"]),
    Index(name="order_expiry", fields=["expires_at"], condition=Q(state="reserved")),
]

WAYS: dict[str, Callable[[Any], Q]] = {
    "number": lambda number: Q(number=_with_dash(number)),
    "email": lambda address: Q(Exact(EMAIL, Lower(Value(address)))),
    "customer_name": lambda name: Q(Exact(NAME, Folded(Value(name)))),
    "phone": lambda phone: Q(Exact(PHONE, LastDigits(Value(phone)))),
    "sku": lambda sku: Q(lines__sku=sku),
    "tag": lambda tag: Q(tags__contains=[tag]),
    "created_after": lambda moment: Q(created_at__gt=moment, pk__gte=first_id(moment - CLOCK_SKEW)),
    "created_before": lambda moment: Q(created_at__lt=moment, pk__lt=first_id(moment + CLOCK_SKEW)),
    "updated_after": lambda moment: Q(updated_at__gt=moment),
    "updated_before": lambda moment: Q(updated_at__lt=moment),
}


def those(**filters: Any) -> Q:
    """Orders of which all of these are true: a parameter of WAYS, or a column with its value. A
    filter of None leaves every order.
    """
    found = Q()
    for name, value in filters.items():
        if value is not None:
            found &= WAYS[name](value) if name in WAYS else Q(**{name: value})
    return found


def _with_dash(number: str) -> str:
    letters = re.sub("[^0-9A-Z]", "", unicodedata.normalize("NFKC", number).upper())
    return f"{letters[:4]}-{letters[4:]}"
