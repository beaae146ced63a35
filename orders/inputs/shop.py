"""What a person types of a shop, on a command line or in a form."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from orders.inputs.faults import pointed
from values.refused import invalid
from values.shop import ShopTyped

FIELDS = tuple(ShopTyped.model_fields)


def typed(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of these fields, for `Shop.say`: None for an empty text, which leaves the field to
    the installation. Refuses with `invalid`, and names each field that is wrong.
    """
    try:
        shop = ShopTyped.model_validate({name: text or None for name, text in texts.items()})
    except ValidationError as exc:
        raise invalid(*(pointed(dict(error), skip=0) for error in exc.errors())) from exc
    return shop.model_dump(exclude_unset=True)
