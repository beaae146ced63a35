"""The belt, as staff use it in a browser, and orders of customers that come to it."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from demo.management.commands.seed import STAFF
from tests.e2e.counter import SLOW_MS, order

NUMBER = re.compile(r"[0-9A-Z]{4}-[0-9A-Z]{4}")


def at_the_belt(window: BrowserContext, password: str) -> Page:
    """Logged in, by the page that a stranger is led to."""
    page = window.new_page()
    page.goto("/ops/")
    page.locator("input[name=username]").fill(STAFF)
    page.locator("input[name=password]").fill(password)
    page.locator("input[type=submit], button[type=submit]").last.click()
    page.wait_for_url("**/ops/")
    return page


def placed(window: BrowserContext, *, token: str = "tok_ok", until: str = "") -> str:
    """The number of an order that a customer has just placed."""
    page = window.new_page()
    order(page, token=token)
    if until:
        expect(page.locator(".headline")).to_have_text(until, timeout=SLOW_MS)
    found = NUMBER.search(page.locator("h1").inner_text())
    assert found
    return found[0]


def look_for(page: Page, term: str) -> None:
    page.get_by_role("searchbox").fill(term)
    page.get_by_role("button", name="Find").click()
