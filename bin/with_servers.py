"""`with_servers.py COMMAND …` runs a command on the embedded servers and ends as it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from config.embedded import adopt, leave  # noqa: E402
from config.start.boot import CannotStart  # noqa: E402  # the checkout has to be on the path first


def main(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{CHECKOUT}/.venv/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        adopt(environment)
    except CannotStart as exc:
        sys.exit(f"Kaiten cannot start: {exc}")
    environment.setdefault("DEBUG", "1")
    # or each of the processes that tests start would compile what it reads
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        status = run(command, environment)
    finally:
        leave()
    sys.exit(status)


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run to the end. A terminal's Ctrl-C reaches the command by itself; a SIGTERM is handed on."""
    signal.signal(signal.SIGINT, lambda number, frame: None)
    process = subprocess.Popen(command, env=environment, cwd=CHECKOUT)
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    status = process.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    main(sys.argv[1:])
