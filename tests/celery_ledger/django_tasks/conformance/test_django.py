"""Django's own tests of `django.tasks`, of the version that is installed, on the ledger's backend.
They are in the source that a package registry has, and are fetched from there; nothing of them is
kept.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import django
import pytest

from tests.rooms import CHECKOUT

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
HERE = "tests.celery_ledger.django_tasks.conformance.backends"
IN_PLACE_OF = {
    r"django\.tasks\.backends\.(immediate|dummy)\b": HERE,
    r"\bImmediateBackend\b": "WorkedOffBackend",
    r"\bDummyBackend\b": "KeepingBackend",
    r"\bSimpleTestCase\b": "TransactionTestCase",  # which may use the database
}
# What Django's own two backends cannot, or keep in memory
OTHERWISE = {
    "test_cannot_get_result",
    "test_cannot_refresh_result",
    "test_cannot_pass_run_after",
    "DummyBackendTestCase.test_refresh_result",
    "DummyBackendTestCase.test_refresh_result_async",
}


def fetched(folder: Path) -> Path:
    """The folder of Django's tests of its tasks, with the ledger's backends named."""
    python = shutil.which("python3") or sys.executable
    source = f"django=={django.__version__}"
    download = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*download, "--dest", folder, source], check=True, timeout=300)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    [tests] = folder.glob("*/tests/tasks")
    for path in tests.glob("*.py"):
        text = path.read_text()
        for pattern, ours in IN_PLACE_OF.items():
            text = re.sub(pattern, ours, text)
        path.write_text(text)
    return tests


def test_djangos_own_tests_pass_on_the_ledger(tmp_path: Path) -> None:
    tests, report = fetched(tmp_path), tmp_path / "report.xml"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "DJANGO_ALLOW_ASYNC_UNSAFE": "1"}
    options = ["-p", "no:cacheprovider", "--ds", "tests.celery_ledger.project.settings"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", str(tests)],
        check=False,
        timeout=500,
        env=environment,
        cwd=tests.parent,
        stdout=subprocess.DEVNULL,
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {
        f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    unexpected = {name for name in failed if not name.endswith(tuple(OTHERWISE))}
    assert unexpected == set()
    assert len(cases) - len(failed) >= 80
