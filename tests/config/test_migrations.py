"""Old dynos work beside a new database for a while, so a migration may only add (docs/adr/0020)."""

import ast
import os
import re
import subprocess
import sys

import pytest

from tests.rooms import CHECKOUT

OURS = ("celery_ledger", "notifications", "ops", "orders")
UNIQUE = "0013_job_place"  # of a column that the release before it neither knows nor writes
CONTRACT = "_contract_"  # in the name of a migration that takes away what no release uses any more


def linted(*arguments: str) -> dict[str, str]:
    """The verdict on each migration: OK, WARNING, ERR or IGNORE."""
    command = [
        sys.executable,
        "manage.py",
        "lintmigrations",
        "--no-cache",
        "--warnings-as-errors",
        *arguments,
    ]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.config.unsafe.settings"}
    run = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    verdicts = dict(re.findall(r"^\(\w+, (\w+)\)\.\.\. (\w+)", run.stdout, flags=re.MULTILINE))
    assert verdicts, run.stdout + run.stderr
    return verdicts


@pytest.mark.django_db
def test_every_migration_leaves_the_release_before_it_alive() -> None:
    ignored = ("--ignore-name-contains", CONTRACT, "--ignore-name", UNIQUE)
    verdicts = linted("--include-apps", *OURS, *ignored)
    assert set(verdicts.values()) <= {"OK", "IGNORE"}


@pytest.mark.soak
def test_what_would_break_it_is_found() -> None:
    found = linted("--include-apps", "unsafe")
    verdicts = {name: verdict for name, verdict in found.items() if verdict != "IGNORE"}
    assert (verdicts.pop("0001_initial"), set(verdicts.values()), len(verdicts)) == (
        "OK",
        {"ERR"},
        7,
    )


def test_what_takes_away_says_since_when_nobody_uses_it() -> None:
    taking_away = [
        path for room in OURS for path in CHECKOUT.glob(f"{room}/migrations/*{CONTRACT}*.py")
    ]
    assert [
        path.name for path in taking_away if not ast.get_docstring(ast.parse(path.read_text()))
    ] == []
