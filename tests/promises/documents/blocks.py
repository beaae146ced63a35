"""The documents, as far as their code is run."""

import re
import subprocess

from tests.rooms import CHECKOUT


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(
        rf"^```{language}\n(.*?)^```$", (CHECKOUT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    assert found, f"{page} has no block of {language}"
    return found


def output_of(commands: str, environment: dict[str, str]) -> str:
    """Of these commands, in one shell; each of them succeeds."""
    ended = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", commands],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout
