"""The ledger's package by itself, installed into a blank Django project as its README says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
WELCOME = """
import time
from greetings.functions import welcome
result = welcome.enqueue("Hana")
while not result.is_finished:
    time.sleep(0.1)
    result.refresh()
print(result.return_value)
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


@dataclass(frozen=True)
class Project:
    """A folder with a new project, the Python that has the package, and its environment."""

    folder: Path
    python: Path
    environment: dict[str, str]

    def run(self, program: str, *words: str) -> str:
        command = [str(self.python.parent / program), *words]
        return run(command, self.folder, self.environment)

    def manage(self, *words: str) -> str:
        return self.run("python", "manage.py", *words)


def begin(folder: Path, python: Path, database: str, broker_url: str) -> Project:
    """A project as the README tells it, each block of code with a name in its file."""
    own = connection.settings_dict
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(folder / "lib"),
        "PYTHONUNBUFFERED": "1",
        "PGHOST": str(own["HOST"]),
        "PGPORT": str(own["PORT"]),
        "PGUSER": str(own["USER"]),
        "PGPASSWORD": str(own["PASSWORD"]),
    }
    project = Project(folder, python, environment)
    project.run("django-admin", "startproject", "proj", ".")
    readme = (settings.BASE_DIR / "celery_ledger" / "README.md").read_text()
    for name, text in BLOCK.findall(readme):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        before = file.read_text() if file.exists() else ""
        own_text = text.replace('"NAME": "proj"', f'"NAME": "{database}"')
        file.write_text(before + own_text.replace("redis://127.0.0.1:6379/0", broker_url))
    return project


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    run([str(settings.BASE_DIR / "bin" / "wheel"), str(tmp_path)], tmp_path, os.environ)
    [wheel] = tmp_path.glob("celery_ledger-*.whl")
    return wheel


def uv(folder: Path, *words: str, **more: str) -> None:
    program = str(Path(sys.executable).parent / "uv")
    run([program, *words], folder, {**os.environ, **more})


def run(command: list[str], folder: Path, environment: "Mapping[str, str]") -> str:
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


@contextmanager
def worker_of(project: Project) -> Iterator[None]:
    folder, celery = project.folder, project.python.parent / "celery"
    log = ["--loglevel", "INFO", "--concurrency", "1"]
    command = ["sh", "-c", f"cd {folder} && exec {celery} -A proj worker {' '.join(log)}"]
    worker = Tree(command, project.environment, folder / "worker.log")
    try:
        until(lambda: "ready." in worker.output(), "the worker is ready", within_s=60)
        yield
    finally:
        worker.kill()


@pytest.mark.soak
def test_a_first_durable_task_runs_in_a_blank_project(
    tmp_path: Path, wheel: Path, database: str, broker_url: str
) -> None:
    into = ["--offline", "--no-deps", "--quiet", "--target", str(tmp_path / "lib")]
    uv(tmp_path, "pip", "install", *into, str(wheel))
    project = begin(tmp_path, Path(sys.executable), database, broker_url)
    project.manage("migrate", "--verbosity=0")
    assert "no issues" in project.manage("check")
    with worker_of(project):
        output = project.manage("shell", "-v", "0", "-c", PROMISE).splitlines()
        assert output == [str(tmp_path / "lib" / "celery_ledger" / "__init__.py"), "Hello, Hana!"]
        counts = project.manage("jobs", "stats")
        assert re.search(r"greetings\.tasks\.greet +0 +0 +1 +0 +0", counts)


@pytest.mark.soak  # asks the package registry: a step of CI by itself
@pytest.mark.parametrize("version", ["5.2", "6.0", "6.1"])
def test_it_holds_with_each_version_that_it_names(
    tmp_path: Path, wheel: Path, database: str, broker_url: str, version: str
) -> None:
    """The wheel with what it says that it needs, in an environment of its own."""
    home = tmp_path / "venv"
    uv(tmp_path, "venv", "--quiet", "--python", sys.executable, str(home))
    needs = [f"django~={version}.0", "psycopg[binary]", "pytest", "pytest-django"]
    uv(tmp_path, "pip", "install", "--quiet", str(wheel), *needs, VIRTUAL_ENV=str(home))
    folder = tmp_path / "project"
    folder.mkdir()
    project = begin(folder, home / "bin" / "python", database, broker_url)
    if version == "6.0":  # whose decorator takes no more than Django's own options
        functions = folder / "greetings" / "functions.py"
        functions.write_text(re.sub(r"@task\(.*\)", "@task", functions.read_text()))
    if version != "5.2":  # which has no tasks of its own
        with (folder / "proj" / "settings.py").open("a") as file:
            file.write('CELERY_IMPORTS = ["greetings.functions"]\n')
    project.manage("migrate", "--verbosity=0")
    assert "no issues" in project.manage("check")
    tested = project.run("python", "-m", "pytest", "-q", "--ds=proj.settings", "greetings/tests.py")
    assert "2 passed" in tested
    with worker_of(project):
        assert project.manage("shell", "-v", "0", "-c", PROMISE).endswith("Hello, Hana!\n")
        if version != "5.2":
            assert project.manage("shell", "-v", "0", "-c", WELCOME) == "Welcome, Hana!\n"
