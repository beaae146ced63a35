"""The documents, as far as their code is run."""

import re

from tests.rooms import CHECKOUT


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(
        rf"^```{language}\n(.*?)^```$", (CHECKOUT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    assert found, f"{page} has no block of {language}"
    return found
