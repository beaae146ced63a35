"""Real web, real workers, real load, real faults; then the books are compared. `bin/chaos` runs it
for longer.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.promises.chaos.faults.faults import DECK
from tests.rooms import CHECKOUT

SECONDS, FAULTS, ORDERS = 60, 150, 30
LIMIT_S = 780  # a slow machine goes on until it has injected the faults, then rests
pytestmark = pytest.mark.timeout(LIMIT_S + 60)


def chaos(*words: str) -> tuple[int, str]:
    """Its exit status and everything it said. It is asked to stop when it takes too long, so that
    it leaves nothing.
    """
    command = [sys.executable, "-m", "tests.promises.chaos", *words]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=50)
            raise
    return process.returncode, output


def test_its_help_needs_no_django_and_no_server() -> None:
    status, output = chaos("--help")
    assert (status, "--seconds" in output) == (0, True), output


@pytest.mark.soak
def test_after_chaos_the_books_balance(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    status, output = chaos(
        "--seconds", str(SECONDS), "--faults", str(FAULTS), "--report", str(report)
    )
    print(output)
    assert report.exists(), "the driver did not come to its end"
    found: dict[str, Any] = json.loads(report.read_text())
    assert (found["violations"], status) == ({}, 0)
    assert sum(found["faults"].values()) >= FAULTS
    assert set(found["faults"]) == set(DECK), "a kind of fault was never injected"
    assert found["orders"] >= ORDERS, "too little was ordered to say anything"
    assert found["refunds"] > 0, "nobody who had paid has cancelled"
    assert found["returns"] > 0, "nothing has come back"
    assert all(found["verbs"].values()), found["verbs"]
    assert found["lines_seen"] > 0, "nobody has stood in line for a place"
    assert found["lost"] > 0, "no fault has hit a job"
