"""What a thing is called by whoever names it: an external_id, a sku, an Idempotency-Key, a client.

The one rule for all of them: two names that a person cannot tell apart are never two things. What
nobody sees, or takes for something else, is refused by name and never mended: a mended name would
be found under another than was sent.
"""

import re
import unicodedata
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from values.refused import Sentence
from values.texts import BLANKS, CONTROL, CONTROLS, NO_CONTROLS

# Hyphens that look like the one of ASCII; what each machine draws as it likes, or as a box.
LOOKALIKES = r"\u2010\u2011\ue000-\uf8ff\ufdd0-\ufdef\ufff0-\uffff"
UNSEEN = re.compile(
    f"[{BLANKS.removeprefix(' ')}{LOOKALIKES}"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
SPACED = re.compile("^ | $|  ")
GUARDED = re.compile('^="([^"]*)"$')  # how Excel is told that 0017 is no number
PLAIN = f"[^{CONTROLS}{BLANKS}{LOOKALIKES}]+"
PATTERN = f"^{PLAIN}( {PLAIN})*$"  # as far as a pattern can say it


def objection(text: str) -> str | None:
    """Why a person could not tell this name from another; None for a name that is plain."""
    if CONTROL.search(text):
        return NO_CONTROLS
    if SPACED.search(text):
        return Sentence("must not begin or end with a space, nor hold two in a row")
    if guarded := GUARDED.fullmatch(text):
        sentence = 'must not be guarded as for a spreadsheet; send %(name)s without =""'
        return Sentence(sentence, name=guarded[1])
    return None if text.isascii() else _objection_beyond_ascii(text)


def _objection_beyond_ascii(text: str) -> str | None:
    if found := UNSEEN.search(text):
        sentence = "must not hold %(character)s, which nobody sees or tells from another"
        return Sentence(sentence, character=_called(found[0]))
    if not unicodedata.is_normalized("NFC", text):
        return Sentence("must be in Unicode's composed form (NFC), with no accents of their own")
    return None


def _called(character: str) -> str:
    number = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    return f"{number} ({name})" if name else number


class Plain:
    """Annotates a text that names a thing, and refuses one to which there is an objection. Its
    length is limited beside this.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_plain, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": PATTERN}


def _plain(text: str) -> str:
    if sentence := objection(text):
        raise PydanticCustomError("identity", "{sentence}", {"sentence": sentence})
    return text
