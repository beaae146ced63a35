"""/v1/docs and /v1/openapi.json: all of the API, for people in their language and for programs."""

import gzip
import json
import re
from html import unescape

import pytest
from django.conf import settings
from django.test import Client as HttpClient
from django.utils.translation import gettext, override

from api.app import api as described_api
from api.openapi import REFUSALS
from api.problems.types import TYPES
from tests.shop.everything import operations

PATHS = ["/v1/docs", "/v1/openapi.json"]
GZIPPED = {"Accept-Encoding": "br, gzip;q=0.8"}
BYTES_MAX = 100_000  # of all that a browser loads for the page, as it is sent


def page_in(language: str) -> str:
    return HttpClient().get("/v1/docs", {"language": language}).content.decode()


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_shows_every_endpoint_with_a_line_that_asks_it_here(language: str) -> None:
    page = page_in(language)
    lines = page.count("<code>curl ")
    for _, path, operation in operations():
        article = page.split(f'<article id="{operation["operationId"]}"')[1].split("</article>")[0]
        assert f"<code>{path}</code>" in article
        if operation["security"]:
            assert f"&quot;{settings.SITE_URL}/v1/" in article
        names = {one["name"] for one in operation["parameters"]}
        assert {name for name in names if f"<code>{name}</code>" not in article} == set()
        assert {status for status in operation["responses"] if status not in article} == set()
        links = set(re.findall(r'href="#([^"]+)"', article))
        assert {link for link in links if f'id="{link}"' not in page} == set()
    assert lines == len([1 for _, _, one in operations() if one["security"]])
    webhooks = described_api.get_openapi_schema()["webhooks"]
    assert all(f"<code>{kind}</code>" in page for kind in webhooks)
    named = {slug for slug, kind in TYPES.items() if kind.status in REFUSALS}
    assert {slug for slug in named if f"<code>{slug}</code>" not in page} == set()


def test_it_is_read_in_either_language_and_what_is_not_is_marked() -> None:
    japanese = page_in("ja")
    assert '<html lang="ja">' in japanese
    document = described_api.get_openapi_schema()
    for item in [*document["paths"].values(), *document["webhooks"].values()]:
        for operation in item.values():
            with override("ja"):
                summary = gettext(operation["summary"])
            assert summary != operation["summary"]
    assert "注文する" in unescape(japanese)
    assert "注文を扱うバックエンドです" in japanese
    assert '<div lang="en"><p>Accepted, and worked off' in japanese
    assert HttpClient().get("/v1/docs", {"language": "fr"}).status_code == 404


def test_it_keeps_the_content_policy_and_knows_nobody() -> None:
    response = HttpClient().get("/v1/docs")
    page = response.content.decode()
    assert "'unsafe" not in response["Content-Security-Policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    assert ("csrf" in page, "Set-Cookie" in response, page.count("<script")) == (False, False, 1)
    assert "`" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("path", PATHS)
def test_it_is_sent_compressed_and_not_again_to_whoever_has_it(path: str) -> None:
    http = HttpClient()
    plain, short = http.get(path), http.get(path, headers=GZIPPED)
    assert gzip.decompress(short.content) == plain.content
    assert (short["Content-Encoding"], "Content-Encoding" in plain) == ("gzip", False)
    assert "Accept-Encoding" in plain["Vary"]
    assert len(short.content) < len(plain.content) / 5
    again = http.get(path, headers={**GZIPPED, "If-None-Match": short["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", plain["ETag"])
    refused = http.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused
    assert http.head(path).status_code == 200
    assert http.post(path).status_code == 405


def test_the_document_is_what_generators_are_given() -> None:
    answer = HttpClient().get("/v1/openapi.json")
    assert json.loads(answer.content) == json.loads(json.dumps(described_api.get_openapi_schema()))


def test_all_of_the_page_is_within_100_kb_as_it_is_sent() -> None:
    parts = [HttpClient().get("/v1/docs", {"language": "ja"}, headers=GZIPPED).content]
    parts += [
        gzip.compress((settings.BASE_DIR / "config/static" / name).read_bytes())
        for name in ("kaiten.css", "docs.css", "docs.js")
    ]
    assert sum(map(len, parts)) <= BYTES_MAX
