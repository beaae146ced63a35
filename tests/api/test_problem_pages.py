"""Every refusal leads to a page that explains it, in both languages."""

import ast
import json
from collections.abc import Iterator
from html import unescape

import pytest
from django.test import Client as HttpClient
from django.utils.translation import gettext, override

from api.problems.handlers import for_status
from api.problems.types import TYPES
from tests.rooms import ROOMS, sources
from tests.shop import Api

SAYS = ("Refused", "rendered")  # each takes a slug


def slugs() -> Iterator[tuple[str, str]]:
    """Each place in the source that refuses, with its slug."""
    for path in sources(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) in SAYS
            ):
                slug = node.args[0]
                if isinstance(slug, ast.Constant):
                    yield f"{path.name}:{node.lineno}", str(slug.value)
                else:
                    assert ast.unparse(slug) in ("slug", "exc.slug"), (
                        f"{path.name}:{node.lineno} hides its slug"
                    )


def test_no_slug_is_raised_without_a_page() -> None:
    found = list(slugs())
    assert len(found) >= 15
    assert {(place, slug) for place, slug in found if slug not in TYPES} == set()


@pytest.mark.parametrize("status", [400, 404, 405, 408, 409, 411, 413, 415, 418, 429, 500])
def test_what_django_refuses_has_a_page_too(status: int) -> None:
    assert f'"/problems/{status_slug(status)}"'.encode() in for_status(status).content


def status_slug(status: int) -> str:
    [slug] = [
        slug for slug in TYPES if f'"/problems/{slug}"'.encode() in for_status(status).content
    ]
    return slug


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["en", "ja"])
def test_each_kind_has_its_page(client: HttpClient, language: str) -> None:
    listed = client.get("/problems/", headers={"Accept-Language": language})
    titles = unescape(listed.content.decode())
    for slug, problem in TYPES.items():
        response = client.get(f"/problems/{slug}", headers={"Accept-Language": language})
        page = unescape(response.content.decode())
        with override(language):
            assert gettext(problem.title) in page
            assert gettext(problem.title) in titles
        assert (response.status_code, f'<html lang="{language}">' in page) == (200, True)
        assert "'unsafe" not in response["Content-Security-Policy"]
        assert "style=" not in page


def test_each_kind_is_translated() -> None:
    for problem in TYPES.values():
        for text in (problem.title, problem.remedy):
            with override("ja"):
                assert gettext(text) != text


def test_an_answer_has_the_title_of_its_page_in_english_whatever_is_read() -> None:
    with override("ja"):
        problem = json.loads(for_status(404).content)
    assert (problem["title"], problem["status"]) == ("There is nothing here", 404)


@pytest.mark.django_db
def test_an_unknown_kind_is_404(client: HttpClient) -> None:
    assert client.get("/problems/eaten").status_code == 404


@pytest.mark.django_db
def test_the_type_of_a_refusal_is_the_address_of_its_page(api: Api) -> None:
    refusal = api.get("/v1/orders?limit=0").json()
    assert api.get(refusal["type"]).status_code == 200
