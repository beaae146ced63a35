"""Every page, narrow and wide, by day and by night, in both languages: nothing complains, nothing
is wider than the screen, and axe finds nothing against WCAG 2.2 AA.

At each push two of the eight ways, which have each width, colour and language once;
`EVERY_WAY=1 bin/e2e -k every_page` takes all of them.
"""

import os
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.belt import at_the_belt, placed
from tests.e2e.conftest import Visit

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
WIDTHS, COLORS, LANGUAGES = (390, 1280), ("light", "dark"), ("en-GB", "ja-JP")
EVERY = list(product(WIDTHS, COLORS, LANGUAGES))
WAYS = EVERY if os.environ.get("EVERY_WAY") else [EVERY[1], EVERY[6]]

STAFF_PAGES = (
    "/ops/",
    "/ops/orders/",
    "/ops/orders/?q=nobody",
    "/ops/orders/?state=confirmed&held",
    "/ops/orders/?placed_to=1999-01-01",
    "/ops/jobs/",
    "/ops/jobs/?state=done",
    "/ops/jobs/?state=half",
    "/ops/queues/",
    "/ops/told/",
    "/ops/told/deliveries/",
    "/ops/told/deliveries/?client=nobody&since=soon",
    "/ops/told/deliveries/?channel=chat",
    "/ops/told/replay/?whom=mail&since=1d&what=everything",
    "/ops/told/mails/",
    "/ops/told/mails/order.fulfilled/ja/",
    "/ops/told/suppressed/",
    "/ops/told/suppressed/?address=nobody@example.com",
    "/ops/told/suppressed/new/",
    "/ops/actions/",
    "/ops/stock/",
    "/ops/stock/?sku=nothing",
    "/ops/stock/?low=on",
    "/ops/stock/new/",
    "/ops/files/",
    "/ops/files/imports/new/",
    "/ops/files/exports/new/",
    "/ops/report/",
    "/ops/report/?when=yesterday",
    "/ops/settings/",
    "/ops/settings/new/",
    "/ops/people/",
)
BEHIND = {  # the first row of a list, and what is done there
    "/ops/stock/": ("", "count/", "describe/"),
    "/ops/settings/": ("", "key/", "shop/"),
    "/ops/told/suppressed/": ("",),
}
API_PAGES = ("/v1/docs", "/problems/", "/problems/out-of-stock")  # whose words are English


@dataclass
class Looked:
    page: Page
    width: int

    def wrong_at(self, path: str) -> list[str]:
        """What is wrong there."""
        self.page.goto(path)
        found = [
            f"{path}: {one['id']}: {node['html'][:160]}"
            for one in Axe().run(self.page, options=RULES).response["violations"]
            for node in one["nodes"][:3]
        ]
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        return [*found, *([f"{path}: {wide} px wide"] if wide > self.width else [])]


def put_on_the_list(page: Page) -> None:
    """An address that nothing is mailed to."""
    page.goto("/ops/told/suppressed/new/")
    page.locator("main [name=address]").fill(f"{'long' * 15}@example.com")
    page.locator("main [name=reason]").fill("asked by phone")
    page.locator("main button.danger").click()


def first_of(page: Page, path: str) -> str:
    page.goto(path)
    found = page.locator("main tbody a").first.get_attribute("href")
    assert found, path
    return found


@pytest.mark.parametrize(("width", "color", "language"), WAYS)
def test_every_page(visit: Visit, password: str, width: int, color: Any, language: str) -> None:
    window = visit(locale=language, color_scheme=color, viewport={"width": width, "height": 844})
    number = placed(window)
    customer = window.pages[-1].url
    page = at_the_belt(window, password)
    page.goto(f"/ops/orders/?q={number}")
    order = page.url
    mail = first_of(page, "/ops/told/deliveries/?channel=mail")
    job = first_of(page, "/ops/jobs/?state=done")
    put_on_the_list(page)
    behind = [f"{first_of(page, path)}{verb}" for path, verbs in BEHIND.items() for verb in verbs]
    looked = Looked(page, width)
    wrong = []
    for path in API_PAGES:
        wrong += looked.wrong_at(path)
    verbs = ("cancel", "refund", "edit", "note", "withdraw", "nothing")
    of_order = (order, *(f"{order}{verb}/" for verb in verbs), job, mail)
    for path in ("/", customer, *STAFF_PAGES, *behind, *of_order, f"{customer}receipt/"):
        wrong += looked.wrong_at(path)
        expect(page.locator("html")).to_have_attribute("lang", language[:2])
    assert not wrong, "\n".join(wrong)
