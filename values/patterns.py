"""Texts that a pattern describes: it says what is taken, and in the API's description what will be."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
WITHOUT_NUL = re.compile(r"[^\x00]*")


@dataclass(frozen=True)
class Matching:
    """Annotates a text that the pattern has to match from end to end; `message` says what is wrong with another."""

    pattern: re.Pattern[str]
    message: str
    kind: str = "text"
    format: str = ""  # for the description, of those that JSON Schema knows

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._matched, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        named = {"format": self.format} if self.format else {}
        return {**handler(schema), "pattern": f"^(?:{self.pattern.pattern})$", **named}

    def _matched(self, text: str) -> str:
        if not self.pattern.fullmatch(text):
            raise PydanticCustomError(self.kind, "{said}", {"said": self.message})
        return text
