"""The environment, as the settings read it and as .env.example explains it."""

import ast
import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.start.environment import (
    addresses,
    database_from,
    env,
    from_environment,
    hosts,
    http_url,
    of_shop,
    one_of,
    positive,
    sender,
    site_url,
    yes_or_no,
)
from tests.rooms import CHECKOUT


def variables_read(source: str) -> Iterator[str]:
    """The names in `env.str("NAME", …)` and in `from_environment(read, "NAME", …)`."""
    for call in ast.walk(ast.parse(source)):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name("env")), args=[ast.Constant(str(name)), *_]
            ):
                yield name
            case ast.Call(func=ast.Name("from_environment"), args=[_, ast.Constant(str(name)), *_]):
                yield name


def test_the_example_explains_every_variable_that_the_settings_read_and_no_other() -> None:
    example = (CHECKOUT / ".env.example").read_text()
    explained = re.findall(r"^# .+\n#(\w+)=", example, flags=re.MULTILINE)
    read = set(variables_read((CHECKOUT / "config" / "settings.py").read_text()))
    assert len(read) > 20
    assert sorted(explained) == sorted(read)
    assert sorted(re.findall(r"^#?(\w+)=", example, flags=re.MULTILINE)) == sorted(read)


def test_a_value_that_begins_with_a_dollar_is_no_name_of_another_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for secret in ("$ecret", "$HOME", "$SECRET_KEY"):
        monkeypatch.setenv("SECRET_KEY", secret)
        assert env.str("SECRET_KEY", default="") == secret
    monkeypatch.setenv("ALLOWED_HOSTS", "$a,b")
    assert env.list("ALLOWED_HOSTS", default=[]) == ["$a", "b"]
    for name, read, default in (
        ("WEB_CONCURRENCY", positive, 1),
        ("EMAIL_URL", env.email_url, "consolemail://"),
    ):
        monkeypatch.setenv(name, "$HOME")
        with pytest.raises(ImproperlyConfigured, match=name):
            from_environment(read, name, default, "another")


def test_a_blank_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for blank in ("", "  "):
        monkeypatch.setenv("SETTING", blank)
        assert from_environment(positive, "SETTING", 3, "a number") == 3
        assert env.str("SETTING", default="") == ""
        assert from_environment(yes_or_no, "SETTING", True, "1 or 0") is True


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (hosts, "shop.example.com, www.example.com", ["shop.example.com", "www.example.com"]),
        (hosts, ".herokuapp.com,[::1],127.0.0.1,*", [".herokuapp.com", "[::1]", "127.0.0.1", "*"]),
        (hosts, "https://shop.example.com", None),
        (hosts, "shop.example.com:8000", None),
        (hosts, "shop.example.com www.example.com", None),
        (site_url, "https://shop.example.com/", "https://shop.example.com"),
        (site_url, "http://[::1]:8000/shop//", "http://[::1]:8000/shop"),
        (site_url, "shop.example.com", None),
        (http_url, "https://collector:abc", None),
        (sender, "Kaiten <shop@example.com>", "Kaiten <shop@example.com>"),
        (sender, "寿司 <shop@example.com>", "寿司 <shop@example.com>"),
        (sender, "Kaiten", None),
        (sender, "shop@example.com\nBcc: me@example.com", None),
        (addresses, "ann@example.com,hana@example.com", ["ann@example.com", "hana@example.com"]),
        (addresses, "ann@example.com;hana@example.com", None),
        (of_shop("name"), "寿司屋", "寿司屋"),
        (of_shop("name"), "x" * 101, None),
        (of_shop("imprint"), "A\\nB", "A\nB"),
        (of_shop("logo_url"), "https://x.example/a.png", "https://x.example/a.png"),
        (of_shop("logo_url"), "logo.png", None),
        (of_shop("time_zone"), "America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
        (of_shop("time_zone"), "Mars/Olympus", None),
        (of_shop("language"), "ja", "ja"),
        (of_shop("language"), "fr", None),
        (of_shop("reservation_minutes"), "45", 45),
        (of_shop("reservation_minutes"), "0", None),
        (of_shop("withdrawal_days"), "0", 0),
        (of_shop("withdrawal_days"), "14.5", None),
        (one_of("grey", "red"), "red", "red"),
        (one_of("grey", "red"), "crimson", None),
    ],
)
def test_what_would_match_nothing_or_reach_nobody_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, read: Any, text: str, value: object
) -> None:
    monkeypatch.setenv("SETTING", text)
    if value is not None:
        assert from_environment(read, "SETTING", "", "another") == value
        return
    with pytest.raises(
        ImproperlyConfigured, match=r"SETTING is set to something .* Set it to another\."
    ):
        from_environment(read, "SETTING", "", "another")


def test_a_value_of_a_database_option_that_libpq_refuses_is_refused_in_its_words() -> None:
    message = "holds an option, or a value, that Postgres does not know: invalid sslmode value"
    with pytest.raises(ImproperlyConfigured, match=message):
        database_from("postgres://a/b?sslmode=bogus")
    kept = database_from("postgres://a/b?sslmode=verify-full")["OPTIONS"]
    assert kept["sslmode"] == "verify-full"


@pytest.mark.parametrize(("jobs", "deliveries"), [("14", 90), ("400", 400)])
def test_a_delivery_is_kept_for_as_long_as_its_job_may_be_retried(
    monkeypatch: pytest.MonkeyPatch, jobs: str, deliveries: int
) -> None:
    monkeypatch.setenv("JOBS_KEEP_DAYS", jobs)
    settings = runpy.run_path(str(CHECKOUT / "config" / "settings.py"))
    assert settings["DELIVERY_KEEP"].days == deliveries
