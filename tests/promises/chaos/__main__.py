"""`bin/chaos`: real load under real faults, then an audit.

This process makes a folder with a Postgres and a broker of its own, which the driver may kill, and
leaves nothing behind.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from config.embedded import adopt, leave
from tests.rooms import CHECKOUT

SEED = 20261122
FOLDER = "CHAOS_FOLDER"  # in the environment of every process of a run


def main(words: list[str]) -> int:
    asked = parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="kaiten-chaos-", delete=not asked.keep) as name:
        folder = Path(name)
        try:
            return run(folder, asked)
        except KeyboardInterrupt:
            return 130
        finally:
            end_the_rest(folder)
            leave(folder)
            if asked.keep:
                print(f"Logs and journals are in {folder}")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="bin/chaos", description="Real load under real faults, then an audit."
    )
    made.add_argument("--seconds", type=int, default=60, help="how long faults are injected (60)")
    made.add_argument("--seed", type=int, default=SEED, help=f"of every decision ({SEED})")
    made.add_argument(
        "--faults", type=int, default=0, help="go on, within bounds, until so many were injected"
    )
    made.add_argument("--report", help="write the figures as JSON to this file, too")
    made.add_argument(
        "--keep", action="store_true", help="keep the folder with the logs and the journals"
    )
    return made


def run(folder: Path, asked: argparse.Namespace) -> int:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL")
    }
    urls: dict[str, str] = {}
    adopt(urls, checkout=folder)
    environment |= {
        **urls,
        FOLDER: str(folder),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    subprocess.run(
        [sys.executable, "manage.py", "release", "-v0"], cwd=CHECKOUT, env=environment, check=True
    )
    numbers = [
        "--seconds",
        str(asked.seconds),
        "--faults",
        str(asked.faults),
        "--seed",
        str(asked.seed),
    ]
    report = ["--report", str(Path(asked.report).resolve())] if asked.report else []
    driver = [sys.executable, "-m", "tests.promises.chaos.driver_process", *numbers, *report]
    return subprocess.run(driver, cwd=CHECKOUT, env=environment, check=False).returncode


def end_the_rest(folder: Path) -> None:
    """Orphans of killed parents, and everything if the driver itself was killed: known by their
    environment.
    """
    mark = f"{FOLDER}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
