"""Texts that have to match a pattern, which the API's description shows too."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
WITHOUT_NUL = re.compile(r"[^\x00]*")


@dataclass(frozen=True)
class Matching:
    """Annotates a text that the pattern has to match from end to end; `message` is what is wrong
    with a text that it does not match.
    """

    pattern: re.Pattern[str]
    message: str
    kind: str = "text"
    format: str = ""  # for the description, of those that JSON Schema knows

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._matched, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        named = {"format": self.format} if self.format else {}
        return {**handler(schema), "pattern": f"^(?:{self.pattern.pattern})$", **named}

    def _matched(self, text: str) -> str:
        if not self.pattern.fullmatch(text):
            raise PydanticCustomError(self.kind, "{sentence}", {"sentence": self.message})
        return text


CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
# spaces, and what is drawn as nothing: fillers, joiners, marks of direction, selectors of a variant
BLANKS = (
    r" \xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u202a-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
NO_CONTROLS = "must not hold line breaks or other control characters"
CONTROL = re.compile(f"[{CONTROLS}]")
ONE_LINE = re.compile(f"(?:[{BLANKS}]*[^{CONTROLS}{BLANKS}][^{CONTROLS}]*)?")


def _one_line(text: str) -> str:
    """A text for people to read in one line: of a mail's subject, a CSV, a log, a label."""
    if CONTROL.search(text):
        raise PydanticCustomError("text", NO_CONTROLS)
    return text


Line = Annotated[str, AfterValidator(_one_line), Matching(ONE_LINE, "must not be blank")]
Name = Annotated[Line, Field(max_length=200)]
AnyText = Annotated[str, Matching(WITHOUT_NUL, "must not hold a NUL character")]
