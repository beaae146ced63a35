"""The table of settings in the package's README, made from `conf.py`: `python -m
tests.celery_ledger.operations.reference` writes it there.
"""

import re
from collections.abc import Iterator

from tests.rooms import CHECKOUT

PACKAGE = CHECKOUT / "celery_ledger"
README = PACKAGE / "README.md"
HEADING = re.compile(r"^    # (.+)$")
SETTING = re.compile(r"^    ([A-Z_]+): [^=]+ = (.+?)(?:  # (.+))?$")
BETWEEN = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)


def table() -> str:
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield "| setting | default | |"
    yield "|---|---|---|"
    source = (PACKAGE / "conf.py").read_text()
    body = source.partition("class LedgerSettings:")[2].partition("    def ")[0]
    for line in body.splitlines():
        if heading := HEADING.match(line):
            yield f"| **{heading[1]}** | | |"
        elif setting := SETTING.match(line):
            yield f"| `{setting[1]}` | {_default(setting[2])} | {setting[3] or ''} |"


def _default(code: str) -> str:
    """The default as somebody would write it into the setting."""
    product = re.fullmatch(r"(\d+) \* 1024(?: \* (\d+))?", code)
    if product:
        return f"`{int(product[1]) * 1024 * int(product[2] or 1)}`"
    return "the text itself" if "_itself" in code else f"`{code}`"


def written() -> str:
    """The README with the table as it should be."""
    return BETWEEN.sub(lambda _: table(), README.read_text())


if __name__ == "__main__":
    README.write_text(written())
