"""Names that a person cannot tell apart are never two things."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from values.identity import PATTERN, objection

PLAIN = [
    "sc-18",
    "caf\u00e9-18",
    "0017",
    "a b c",
    "寿司 42",
    "Артикул-9",
    "①",
    "ＡＢ",
    "=1+1",
    "👩",
    '"x"',
]
SPACE = "must not begin or end with a space, nor hold two in a row"
UNSEEN = "which nobody sees or tells from another"


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_as_people_write_it_is_taken(name: str) -> None:
    assert objection(name) is None
    assert re.fullmatch(PATTERN, name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (" sc-18", SPACE),
        ("sc-18 ", SPACE),
        ("sc  18", SPACE),
        (" ", SPACE),
        ("sc-18\u3000", f"U+3000 (IDEOGRAPHIC SPACE), {UNSEEN}"),
        ("sc-18\xa0", "U+00A0 (NO-BREAK SPACE)"),
        ("sc\xa018", "U+00A0 (NO-BREAK SPACE)"),
        ("sc\u200b-18", "U+200B (ZERO WIDTH SPACE)"),
        ("\ufeffsc-18", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("sc\xad-18", "U+00AD (SOFT HYPHEN)"),
        ("sc\u201118", "U+2011 (NON-BREAKING HYPHEN)"),
        ("\u202esc-18", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("sc-18\u3164", "U+3164 (HANGUL FILLER)"),
        ("☃\ufe0f", "U+FE0F (VARIATION SELECTOR-16)"),
        ("sc\U000e0041", "U+E0041 (TAG LATIN CAPITAL LETTER A)"),
        ("sc\ue000", "U+E000,"),
        ("sc\ufffd", "U+FFFD (REPLACEMENT CHARACTER)"),
        ("cafe\u0301-18", "composed form"),
        ("\u212b", "composed form"),  # the sign of Ångström
        ('="0017"', "send 0017 without"),
        ("a\tb", "control"),
        ("a\u2028b", "control"),
    ],
)
def test_what_nobody_can_tell_apart_is_refused_and_named(name: str, says: str) -> None:
    assert says in str(objection(name))


@given(name=st.text(min_size=1, max_size=8))
def test_what_is_taken_is_what_is_seen(name: str) -> None:
    """No second name is taken that differs by nothing but what a person overlooks."""
    if objection(name) is not None:
        return
    assert re.fullmatch(PATTERN, name)
    assert name == unicodedata.normalize("NFC", " ".join(name.split()))
    assert not {unicodedata.category(letter) for letter in name} & {"Cc", "Co", "Cs", "Zl", "Zp"}
    for hidden in (" ", "\u3000", "\u200b", "\u2060", "\ufeff", "\xa0"):
        assert objection(name + hidden)
        assert objection(hidden + name)


def test_no_other_space_is_taken() -> None:
    letters = map(chr, range(0x110000))
    spaces = [letter for letter in letters if unicodedata.category(letter) in ("Zs", "Cc")]
    assert [space for space in spaces if not objection(f"a{space}b")] == [" "]
