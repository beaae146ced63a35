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
}


def pointed(error: dict[str, Any], skip: int) -> tuple[str, str]:
    """A pydantic error as a pair of JSON pointer and message; `skip` leaves out where the body was
    found.
    """
    path = [escaped(str(step)) for step in error["loc"][skip:] if step != "[key]"]
    if error["type"] in ("total", "discount", "amount", "restock", "shipping", "token", "attempts"):
        path.append(error["type"])
    message = error["msg"].removeprefix(f"/{error['type']} ")
    if sentence := SENTENCES.get(error["type"]):
        message = Sentence(sentence, **error.get("ctx", {}))
    return "".join(f"/{step}" for step in path), message
