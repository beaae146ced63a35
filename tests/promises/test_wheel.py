"""The ledger's package by itself, installed into a blank Django project as its README says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.promises.processes import Tree
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DATABASE = f"blank_{os.getpid()}"
PROMISE = """
from greetings.tasks import greet
import celery_ledger
print(celery_ledger.__file__)
print(greet.delay("Hana").get(timeout=60, interval=0.1))
"""


@pytest.fixture
def database() -> Iterator[str]:
    """An empty one beside the tests' own."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET transaction_timeout = 0")  # a slow disk
        cursor.execute(f"CREATE DATABASE {DATABASE}")
        yield DATABASE
        cursor.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        cursor.execute("RESET statement_timeout; RESET transaction_timeout")


@pytest.fixture
def blank(tmp_path: Path, database: str, broker_url: str) -> tuple[Path, dict[str, str]]:
    """A folder with a new project and the package in `lib`, and the environment of its commands."""
    own = connection.settings_dict
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path / "lib"),
        "PYTHONUNBUFFERED": "1",
        "PGHOST": str(own["HOST"]),
        "PGPORT": str(own["PORT"]),
        "PGUSER": str(own["USER"]),
        "PGPASSWORD": str(own["PASSWORD"]),
    }
    root, programs = settings.BASE_DIR, Path(sys.executable).parent
    run([str(root / "bin" / "wheel"), str(tmp_path)], tmp_path, os.environ)
    [wheel] = tmp_path.glob("celery_ledger-*.whl")
    to = ["--offline", "--no-deps", "--quiet", "--target", str(tmp_path / "lib")]
    run([str(programs / "uv"), "pip", "install", *to, str(wheel)], tmp_path, os.environ)
    run([str(programs / "django-admin"), "startproject", "proj", "."], tmp_path, environment)
    readme = (root / "celery_ledger" / "README.md").read_text()
    for name, text in BLOCK.findall(readme):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        before = file.read_text() if file.exists() else ""
        own_text = text.replace('"NAME": "proj"', f'"NAME": "{database}"')
        file.write_text(before + own_text.replace("redis://127.0.0.1:6379/0", broker_url))
    return tmp_path, environment


def run(command: list[str], folder: Path, environment: "os._Environ[str] | dict[str, str]") -> str:
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_first_durable_task_runs_in_a_blank_project(blank: tuple[Path, dict[str, str]]) -> None:
    folder, environment = blank
    manage = [sys.executable, "manage.py"]
    run([*manage, "migrate", "--verbosity=0"], folder, environment)
    assert "no issues" in run([*manage, "check"], folder, environment)
    celery = str(Path(sys.executable).parent / "celery")
    command = [
        "sh",
        "-c",
        f"cd {folder} && exec {celery} -A proj worker --loglevel INFO --concurrency 1",
    ]
    worker = Tree(command, environment, folder / "worker.log")
    try:
        until(lambda: "ready." in worker.output(), "the worker is ready", within_s=60)
        output = run([*manage, "shell", "-v", "0", "-c", PROMISE], folder, environment).splitlines()
        assert output == [str(folder / "lib" / "celery_ledger" / "__init__.py"), "Hello, Hana!"]
        counts = run([*manage, "jobs", "stats"], folder, environment)
        assert re.search(r"greetings\.tasks\.greet +0 +0 +1 +0 +0", counts)
    finally:
        worker.kill()
