"""The page of the API in a real browser: found by a search, and all there without a script."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}


def test_a_search_leaves_what_has_its_words_and_a_link_shows_the_rest_again(visit: Visit) -> None:
    page = visit(viewport={"width": 1280, "height": 900}).new_page()
    page.goto("/v1/docs")
    expect(page.locator("nav.endpoints summary")).to_be_hidden()
    page.get_by_label("Find an endpoint").fill("refund units")
    expect(page.locator("#refund_order")).to_be_visible()
    expect(page.locator("#list_jobs")).to_be_hidden()
    expect(page.get_by_role("link", name="List jobs, newest first")).to_have_count(0)
    page.get_by_label("Find an endpoint").fill("xyzzy")
    expect(page.get_by_role("status")).to_have_text("Nothing has these words. Try fewer.")
    page.get_by_label("Find an endpoint").press("Escape")
    page.locator("#refund_order .kind a").first.click()
    expect(page.locator("#shape-UnitsInput .fields")).to_be_visible()
    page.get_by_role("link", name="日本語").click()
    expect(page.locator("html")).to_have_attribute("lang", "ja")


@pytest.mark.parametrize("javascript", [True, False])
def test_it_is_no_wider_than_a_phone_where_its_endpoints_are_folded(
    visit: Visit, javascript: bool
) -> None:
    page = visit(java_script_enabled=javascript, **PHONE).new_page()
    page.goto("/v1/docs?language=ja")
    link = page.locator("nav.endpoints").get_by_text("注文する", exact=True)
    expect(link).to_be_hidden()
    expect(page.get_by_role("searchbox")).to_have_count(int(javascript))
    page.locator("nav.endpoints summary").click()
    link.click()
    expect(page.locator("#place_order .path")).to_be_in_viewport()
    expect(page.locator("#place_order pre").first).to_contain_text("curl")
    if javascript:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
