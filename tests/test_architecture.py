"""The arrows between the rooms and the banned names, read from the source."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from config import celery_app
from tests.rooms import ARROWS, CHECKOUT, ROOMS, sources

EVERYTHING = frozenset({*ROOMS, "tests"})
LINES_OF_A_FUNCTION = 40
ENTRIES_OF_A_FOLDER = 12
OF_THE_FRAMEWORKS = frozenset(  # where Django, Celery, pytest, those who pack, or their users look
    """__init__.py admin.py apps.py checks.py conf.py locale management migrations models
    pytest_plugin.py settings.py static tasks.py templates templatetags urls.py wsgi.py README.md
    pyproject.toml py.typed conftest.py""".split()
)
NAMED_TEST = re.compile(  # from the root, from a page in docs/, or from tests/; and a test in it
    r"(?<![\w/.])(?:\.\./)*((?:\w+/)+test_\w+\.py)(?:::(test_\w+)(?![\w…]))?"
)
# names that say nothing of what they hold; the fields of rows and of answers may be called so
RIDDLES = {"said", "told", "known", "wanted", "shown", "described", "story"}
NAMELESS = {"utils", "helpers", "common", "misc", "services", "managers", "core", "base"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def named_by(statement: ast.AST) -> list[tuple[str, str]]:
    """What an import names: `from x import y` is ("x", "x.y"), and either may be a module."""
    if isinstance(statement, ast.Import):
        return [(alias.name, alias.name) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        whole = statement.module or ""
        return [(whole, f"{whole}.{alias.name}") for alias in statement.names]
    return []


def imports_at_the_top(path: Path) -> Iterator[tuple[str, str]]:
    """What is imported when the module is, as `named_by` has it."""
    for statement in ast.parse(path.read_text()).body:
        yield from named_by(statement)


def documents() -> list[Path]:
    """And the programs that run tests by name."""
    return [
        *CHECKOUT.glob("[AR]*.md"),
        *CHECKOUT.glob("docs/**/*.md"),
        CHECKOUT / "CONTRIBUTING.md",
        CHECKOUT / "celery_ledger/README.md",
        CHECKOUT / ".ci/run",
        CHECKOUT / "bin/soak",
    ]


def assigned(statement: ast.stmt) -> list[ast.expr]:
    match statement:
        case ast.AnnAssign(target=target):
            return [target]
        case ast.Assign(targets=targets):
            return targets
    return []


def names(path: Path) -> Iterator[tuple[ast.expr | ast.arg | ast.stmt, str]]:
    """What a module calls its variables, parameters, functions and classes."""
    tree = ast.parse(path.read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = {target for one in classes for field in one.body for target in assigned(field)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) if node not in fields:
                yield node, name
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node, name


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(("__pyc", "."))}


def places(text: str, *rooms: str) -> set[str]:
    return {str(path.relative_to(CHECKOUT)) for path in sources(*rooms) if text in path.read_text()}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_along_the_arrows(room: str) -> None:
    allowed = {room, *ARROWS[room]}
    found = {
        (str(path.relative_to(CHECKOUT)), name)
        for path in sources(room)
        for name in imports(path)
        if (name.split(".")[0] in EVERYTHING - allowed)
    }
    assert found == set()


def test_no_test_imports_from_another() -> None:
    """What tests share is in a module that says what it holds, or in a conftest."""
    found = {
        (str(path.relative_to(CHECKOUT)), part)
        for path in sources("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        for _, part in named_by(node)
        if part.startswith("tests.") and ".test_" in part
    }
    assert found == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    named = {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources(*ROOMS)
    }
    arrows = {
        name: {part if part in named else whole for whole, part in imports_at_the_top(path)}
        for name, path in named.items()
    }
    order = TopologicalSorter(arrows).static_order()  # raises CycleError, which names the circle
    assert named.keys() <= set(order)


def test_the_folders_of_the_ledger_lie_above_each_other() -> None:
    """None imports of one that imports of it, be it by way of others or inside a function."""
    above: dict[str, set[str]] = {}
    for path in sources("celery_ledger"):
        inside = path.relative_to(CHECKOUT / "celery_ledger")
        own = [name.split(".") for name in imports(path) if name.startswith("celery_ledger.")]
        folder = inside.parts[0].removesuffix(".py")
        if folder != "__init__":  # which only hands names on
            above.setdefault(folder, set()).update(name[1] for name in own if name[1] != folder)
    floors = [*TopologicalSorter(above).static_order()]  # raises CycleError, which names the circle
    assert floors.index("models") < floors.index("execution") < floors.index("worker")


def test_of_the_ledger_only_its_public_names_are_used() -> None:
    others = sources(*(room for room in ROOMS if room != "celery_ledger"))
    inner = [
        (path, name)
        for path in others
        for name in imports(path)
        if name.startswith("celery_ledger.")
    ]
    assert inner == []


def test_a_task_that_is_named_by_a_string_lies_along_the_arrows_too() -> None:
    name = re.compile(rf"({'|'.join(ROOMS)})\.[a-z_.]*tasks\.[a-z_]+")
    against = [
        (str(path.relative_to(CHECKOUT)), node.value)
        for room, allowed in ARROWS.items()
        for path in sources(room)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (named := name.fullmatch(node.value)) and named[1] not in {room, *allowed}
    ]
    assert against == []


def test_each_folder_says_in_a_sentence_what_lives_there() -> None:
    silent = [
        str(path.relative_to(CHECKOUT))
        for path in sources(*ROOMS)
        if path.name == "__init__.py" and "management" not in path.parts
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].endswith(".")
    ]
    assert silent == []


def test_each_folder_is_seen_at_a_glance() -> None:
    """Its entries are few, beside those that it has because a framework looks there. `tests` has a
    folder for each room, and its own beside them.
    """
    crowded = {
        str(folder.relative_to(CHECKOUT)): own
        for folder in {path.parent for path in sources(*ROOMS, "tests")}
        if len(own := entries(folder) - OF_THE_FRAMEWORKS - {*ROOMS}) > ENTRIES_OF_A_FOLDER
    }
    assert crowded == {}


def test_a_name_says_what_it_holds() -> None:
    riddles = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno}: {name}"
        for path in sources(*ROOMS, "tests")
        for node, name in names(path)
        if name in RIDDLES
    ]
    assert riddles == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(CHECKOUT)}:{node.name}"
        for path in sources(*ROOMS, "tests", "bin")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
        if node.end_lineno - node.lineno + 1 > LINES_OF_A_FUNCTION
    ]
    assert long == []
    assert places("fmt: " + "skip", *ROOMS, "tests", "bin") == set()


def test_the_demo_shop_can_be_deleted() -> None:
    """With its app and its addresses: two lines name it, and no other room imports it."""
    others = [room for room in ROOMS if room != "demo"]
    knows = [path for path in sources(*others) for name in imports(path) if name[:4] == "demo"]
    assert knows == []
    assert places('"demo', *others) == {"config/settings.py", "config/urls.py"}


def test_no_room_below_the_api_knows_ninja() -> None:
    below = sources("demo", "ops", "orders", "notifications", "celery_ledger", "values")
    assert [path for path in below for name in imports(path) if name.startswith("ninja")] == []


def test_no_signals_and_no_nameless_modules() -> None:
    assert [path.name for path in sources(*ROOMS) if path.stem in NAMELESS] == []
    banned = ("django.db.models.signals", "django.dispatch", "django.core.signals")
    assert [
        name for path in sources(*ROOMS) for name in imports(path) if name.startswith(banned)
    ] == []


def test_one_place_for_each_power() -> None:
    """Who publishes, who catches everything, who reads the environment, who starts transactions'
    locks.
    """
    assert places(".publish(", *ROOMS) == {"celery_ledger/publishing/bell.py"}
    assert places("except Exception", *ROOMS) == {
        "config/web/connections.py",
        "celery_ledger/celery/backend.py",
        "celery_ledger/publishing/bell.py",
        "celery_ledger/worker/clock.py",
        "celery_ledger/worker/scheduler.py",
        "celery_ledger/execution/settling.py",
        "celery_ledger/execution/verdict.py",
        "celery_ledger/models/error.py",
    }
    assert places("except BaseException", "celery_ledger") == {
        "celery_ledger/execution/attempt.py",
        "celery_ledger/execution/batch.py",
    }
    assert places("environ.Env", *ROOMS) == {"config/start/environment.py"}
    asking = {
        str(path.relative_to(CHECKOUT))
        for path in sources(*ROOMS)
        if "config.start.environment" in imports(path)
    }
    assert asking == {"config/settings.py"}


def test_every_lock_is_in_a_queryset_method() -> None:
    outside = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno}"
        for path in sources(*ROOMS)
        if path.parts[-2:] != ("payments", "sandbox.py")  # the provider's side of the world
        for node in ast.parse(path.read_text()).body
        if "select_for_update" in ast.dump(node)
        if not (isinstance(node, ast.ClassDef) and node.name.endswith("QuerySet"))
    ]
    assert outside == []


def test_the_documents_name_tests_that_exist() -> None:
    """A document that is no longer true is a bug."""
    named = {
        (page.name, match[1], match[2] or "")
        for page in documents()
        for match in NAMED_TEST.finditer(page.read_text())
    }
    assert len(named) >= 100
    assert [name for name in sorted(named) if not is_there(*name[1:])] == []


def is_there(path: str, test: str) -> bool:
    file = CHECKOUT / "tests" / path.removeprefix("tests/")
    return file.exists() and (not test or f"def {test}(" in file.read_text())


def test_every_scheduled_task_exists() -> None:
    celery_app.loader.import_default_modules()
    assert {entry["task"] for entry in celery_app.conf.beat_schedule.values()} <= set(
        celery_app.tasks
    )
