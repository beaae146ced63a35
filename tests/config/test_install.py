"""What `bin/setup` takes for a finished `.venv`, and what for the remains of a killed run."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def installer(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[str]]:
    """bin/install.py of a checkout, and the list to which it adds what it would do to `.venv`."""
    (checkout / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "bin" / "install.py", checkout / "bin")
    (checkout / "requirements-test.txt").write_text("uv==1\n")
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
    monkeypatch.setattr(install, "install", lambda: done.append("installed"))
    return install, done


def test_a_finished_venv_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])
    assert done == ["emptied", "installed"]
    install.main([])
    assert done == ["emptied", "installed"]


def test_a_changed_lock_is_installed_into_the_same_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])
    install.LOCK_FILE.write_text("uv==2\n")
    install.main([])
    assert done == ["emptied", "installed", "installed"]


def test_the_venv_of_a_killed_run_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])

    def be_killed() -> None:
        raise MemoryError

    monkeypatch.setattr(install, "install", be_killed)
    install.LOCK_FILE.write_text("uv==2\n")
    with pytest.raises(MemoryError):
        install.main([])
    monkeypatch.setattr(install, "install", lambda: done.append("installed"))
    install.main([])
    assert done == ["emptied", "installed", "emptied", "installed"]


def test_a_moved_checkout_gets_a_new_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, _ = installer(tmp_path / "before", monkeypatch)
    install.main([])
    (tmp_path / "before").rename(tmp_path / "after")
    install, done = installer(tmp_path / "after", monkeypatch)
    install.main([])
    assert done == ["emptied", "installed"]


def test_a_venv_whose_python_is_gone_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, done = installer(tmp_path, monkeypatch)
    install.main([])
    install.PYTHON.unlink()
    install.main([])
    assert done == ["emptied", "installed", "emptied", "installed"]
