"""A link between documents leads to a file that is there, and to a heading in it."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.rooms import CHECKOUT

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
ELSEWHERE = ("http:", "https:", "mailto:", "/")


def documents() -> list[Path]:
    return [
        *CHECKOUT.glob("*.md"),
        *CHECKOUT.glob("docs/**/*.md"),
        CHECKOUT / "celery_ledger" / "README.md",
    ]


def headings(document: Path) -> set[str]:
    """The anchors that GitHub makes of them."""
    prose = CODE_BLOCK.sub("", document.read_text())
    titles = re.findall(r"^#+ +(.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def links() -> Iterator[tuple[Path, Path, str]]:
    """Each document, the file to which a link in it leads, and the anchor there or ""."""
    for document in documents():
        for path, anchor in LINK.findall(document.read_text()):
            if not path.startswith(ELSEWHERE):
                yield document, (document.parent / path).resolve() if path else document, anchor


def test_every_link_leads_to_what_is_there() -> None:
    found = list(links())
    astray = [
        f"{document.name}: {target.name}#{anchor}"
        for document, target, anchor in found
        if not target.exists()
        or (anchor and target.suffix == ".md" and anchor not in headings(target))
    ]
    assert astray == []
    assert len(found) > 100
