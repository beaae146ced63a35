"""The environment, as the settings read it and as .env.example explains it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import env, from_environment, positive

REPOSITORY = Path(__file__).resolve().parents[2]


def variables_read(source: str) -> Iterator[str]:
    """The names in `env.str("NAME", …)` and in `from_environment(read, "NAME", …)`."""
    for call in ast.walk(ast.parse(source)):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name("env")), args=[ast.Constant(str(name)), *_]):
                yield name
            case ast.Call(func=ast.Name("from_environment"), args=[_, ast.Constant(str(name)), *_]):
                yield name


def test_the_example_explains_every_variable_that_the_settings_read_and_no_other() -> None:
    example = (REPOSITORY / ".env.example").read_text()
    explained = re.findall(r"^# .+\n#(\w+)=", example, flags=re.MULTILINE)
    read = set(variables_read((REPOSITORY / "config" / "settings.py").read_text()))
    assert len(read) > 20
    assert sorted(explained) == sorted(read)
    assert sorted(re.findall(r"^#?(\w+)=", example, flags=re.MULTILINE)) == sorted(read)


def test_a_value_that_begins_with_a_dollar_is_no_name_of_another_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("$ecret", "$HOME", "$SECRET_KEY"):
        monkeypatch.setenv("SECRET_KEY", secret)
        assert env.str("SECRET_KEY", default="") == secret
    monkeypatch.setenv("ALLOWED_HOSTS", "$a,b")
    assert env.list("ALLOWED_HOSTS", default=[]) == ["$a", "b"]
    for name, read, default in (("WEB_CONCURRENCY", positive, 1), ("EMAIL_URL", env.email_url, "consolemail://")):
        monkeypatch.setenv(name, "$HOME")
        with pytest.raises(ImproperlyConfigured, match=name):
            from_environment(read, name, default, "another")
