"""`manage.py` in a shell: however it is ended, and whatever the terminal, no traceback."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings

MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]


def manage(*arguments: str, **how: Any) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, **how.pop("environment", {})}
    how.setdefault("stdout", subprocess.PIPE)
    command = [*MANAGE, *arguments]
    return subprocess.run(
        command, stderr=subprocess.PIPE, env=environment, timeout=60, check=False, **how
    )


@pytest.mark.soak
def test_ctrl_c_ends_a_command_as_a_shell_knows_it() -> None:
    ended = manage("shell", "--verbosity=0", "--command=raise KeyboardInterrupt")
    assert (ended.returncode, ended.stderr) == (130, b"")


@pytest.mark.soak
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_is_no_error_of_ours(unbuffered: str) -> None:
    out, into = os.pipe()
    os.close(out)
    try:
        ended = manage("diffsettings", stdout=into, environment={"PYTHONUNBUFFERED": unbuffered})
    finally:
        os.close(into)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.soak
def test_another_broken_pipe_is_told() -> None:
    ended = manage("shell", "--verbosity=0", "--command=raise BrokenPipeError('the other one')")
    assert ended.returncode == 1
    assert b"BrokenPipeError: the other one" in ended.stderr


@pytest.mark.soak
def test_a_terminal_that_lacks_a_character_is_shown_its_number() -> None:
    ended = manage(
        "shell", "--verbosity=0", "--command=print('鮭')", environment={"PYTHONIOENCODING": "ascii"}
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"\\u9bad\n", b"")


def test_from_a_terminal_a_bad_id_is_exit_code_1_and_no_traceback() -> None:
    command = [sys.executable, "manage.py", "jobs", "show", "charge"]
    ended = subprocess.run(
        command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert (
        ended.stderr == "CommandError: 'charge' is no job's id; `manage.py jobs list` shows them.\n"
    )
