"""README.ja.md has the content of README.md, as far as a program sees."""

import re

from tests.rooms import CHECKOUT

CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def outline(page: str) -> dict[str, object]:
    """What a README says in no language: sections, code, tables and links.

    The first code block bears comments, which are translated.
    """
    text = (CHECKOUT / page).read_text()
    prose = CODE_BLOCK.sub("", text)
    links = re.findall(r"\]\(([^)]+)\)", prose)
    return {
        "sections": re.findall(r"^#+ ", prose, re.MULTILINE),
        "blocks": CODE_BLOCK.findall(text)[1:],
        "cells": [row.count("|") for row in prose.splitlines() if row.startswith("|")],
        "links": sorted(link for link in links if not link.startswith("README")),
        "code": sorted(set(re.findall(r"`([^`\n]+)`", prose))),
    }


def test_the_japanese_readme_has_the_content_of_the_english_one() -> None:
    assert outline("README.ja.md") == outline("README.md")
