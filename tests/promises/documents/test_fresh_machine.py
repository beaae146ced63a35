"""README: a clone and a Python are enough. `bin/dev` installs, starts, takes orders, survives its
death.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.debian import program
from tests.rooms import CHECKOUT

SETUP_LIMIT_S = 240
STOP_LIMIT_S = 40
INHERITED = ("HOME", "PATH", "LANG", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


class Machine:
    """A copy of this checkout without what git ignores, and the `bin/dev` that runs in it."""

    def __init__(self, folder: Path) -> None:
        ignored = shutil.ignore_patterns(
            ".git", ".venv", ".local", ".env", "*_cache", "__pycache__", "staticfiles"
        )
        self.checkout = folder / "a stranger's machine"
        shutil.copytree(CHECKOUT, self.checkout, ignore=ignored)
        package_settings = {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))
        }
        self.environment = {
            name: os.environ[name] for name in INHERITED if name in os.environ
        } | package_settings
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.environment["PORT"] = str(listener.getsockname()[1])
        self.launcher: subprocess.Popen[str] | None = None

    def start(self) -> list[str]:
        """Run `bin/dev` until it says that it is ready and how to use it."""
        self.launcher = subprocess.Popen(
            [self.checkout / "bin" / "dev"],
            cwd="/",
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines: list[str] = []
        assert self.launcher.stdout
        for line in self.launcher.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                return lines
        raise AssertionError("\n".join(lines))

    def end(self, number: signal.Signals) -> int:
        assert self.launcher
        self.launcher.send_signal(number)
        self.launcher.communicate(timeout=STOP_LIMIT_S)
        return self.launcher.returncode

    def servers(self, command: str) -> str:
        python = self.checkout / ".venv" / "bin" / "python"
        answer = subprocess.run(
            [python, "-m", "config.embedded", command],
            cwd=self.checkout,
            env=self.environment,
            capture_output=True,
            check=True,
            text=True,
            timeout=STOP_LIMIT_S,
        )
        return answer.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    if machine.launcher and machine.launcher.poll() is None:
        machine.end(signal.SIGTERM)
    machine.servers("stop")


def ordered(lines: list[str]) -> dict[str, object]:
    """What the shop answers to the line that `bin/dev` offers for pasting."""
    program("curl", package="curl")
    curl = next(line for line in lines if line.startswith("curl "))
    answer = subprocess.run(
        shlex.split(curl), capture_output=True, check=True, text=True, timeout=30
    )
    return dict(json.loads(answer.stdout))


@pytest.mark.soak  # a step of CI by itself
@pytest.mark.timeout(SETUP_LIMIT_S + 2 * STOP_LIMIT_S)
def test_a_clone_and_a_python_are_enough(machine: Machine) -> None:
    lines = machine.start()
    assert any(re.fullmatch(r"Kaiten is ready: http://127\.0\.0\.1:\d+", line) for line in lines)
    assert not list(machine.checkout.glob(".venv/bin/pytest")), (
        "the tools of tests come with the tests"
    )
    first = ordered(lines)
    assert first["total"] == 660
    assert ordered(lines)["id"] == first["id"]

    assert machine.end(signal.SIGKILL) == -signal.SIGKILL
    assert machine.servers("status").count(" runs as process ") == 2
    again = machine.start()
    assert ordered(again)["id"] != first["id"]
    assert ordered(lines)["id"] == first["id"]

    assert machine.end(signal.SIGTERM) == 0
    assert machine.servers("status").count(" does not run") == 2
