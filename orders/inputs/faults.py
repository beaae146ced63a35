"""What is wrong with an input: where it stands, and in the words of its sender."""

from typing import Any

from values.refused import Sentence
from values.strict_json import escaped

# pydantic's kinds of errors in words of the sender, who may be a shopkeeper with a spreadsheet
SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is no field that we know",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object with named fields",
    "model_type": "must be an object with named fields",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "must be no longer than %(max_length)s",
    "too_long": "must be no longer than %(max_length)s",
    "greater_than_equal": "must be %(ge)s or more",
    "less_than_equal": "must be %(le)s or less",
    "less_than": "must be less than %(lt)s",
    "enum": "must be %(expected)s",
    "literal_error": "must be %(expected)s",
    "total": "is %(total)s, but the lines and the shipping add up to %(due)s",
}


def pointed(error: dict[str, Any], skip: int) -> tuple[str, str]:
    """A pydantic error as a pair of JSON pointer and message; `skip` leaves out where the body was
    found.
    """
    path = [escaped(str(step)) for step in error["loc"][skip:] if step != "[key]"]
    if error["type"] in ("total", "discount", "amount", "restock", "shipping", "token", "attempts"):
        path.append(error["type"])
    return "".join(f"/{step}" for step in path), _message(error)


def _message(error: dict[str, Any]) -> str:
    values = error.get("ctx", {})
    if sentence := SENTENCES.get(error["type"]):
        return Sentence(sentence, **{name: _listed(value) for name, value in values.items()})
    own = values.get("sentence")  # of a validator of ours
    return own if isinstance(own, Sentence) else str(error["msg"])


def _listed(value: Any) -> Any:
    """pydantic's `'a', 'b' or 'c'` in a sentence of ours, which has a word for its "or"."""
    first, found, last = value.rpartition(" or ") if isinstance(value, str) else ("", "", "")
    return Sentence("%(first)s or %(last)s", first=first, last=last) if found else value
