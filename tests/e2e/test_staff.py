"""A shop's day on the staff pages, in a real browser: how many clicks each question takes."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from demo.management.commands.seed import STAFF
from tests.e2e.conftest import Visit
from tests.e2e.test_shop import PHONE, SLOW_MS, order

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


def test_where_an_order_is_and_why_is_one_search(visit: Visit, password: str) -> None:
    window = visit()
    number = placed(window, token="tok_confirm", until="Your bank asks you to confirm")
    page = at_the_belt(window, password)
    look_for(page, number.replace("-", "").lower())
    expect(page.locator("h1")).to_contain_text(number)
    expect(page.locator("#why")).to_contain_text("It waits for its customer, whose bank asks")
    expect(page.locator(".timeline")).to_contain_text("order.reserved")


def test_money_goes_back_in_two_clicks_and_its_page_says_what_it_comes_to(
    visit: Visit, password: str
) -> None:
    window = visit()
    number = placed(window, until="Confirmed and paid")
    page = at_the_belt(window, password)
    look_for(page, number)
    page.get_by_role("link", name="Give money back").click()
    expect(page.locator(".figures")).to_contain_text("Is paid back")
    page.get_by_role("button", name="Give money back").click()
    expect(page.get_by_role("status")).to_have_text("Done: Give money back.")
    expect(page.locator(".timeline")).to_contain_text(f"{STAFF}: Give money back")


def test_of_two_browsers_that_press_at_once_one_is_told_who_was_faster(
    visit: Visit, password: str
) -> None:
    number = placed(visit(), until="Confirmed and paid")
    first, second = (at_the_belt(visit(), password) for _ in range(2))
    for page in (first, second):
        look_for(page, number)
        page.get_by_role("link", name="Cancel the order").click()
    first.get_by_role("button", name="Cancel the order").click()
    expect(first.get_by_role("status")).to_have_text("Done: Cancel the order.")
    second.get_by_role("button", name="Cancel the order").click()
    alert = second.get_by_role("alert")
    expect(alert).to_contain_text("Nothing was done")
    expect(alert).to_contain_text(f"The last person here was {STAFF}")


def test_an_order_on_hold_is_released_from_the_belt(visit: Visit, password: str) -> None:
    window = visit()
    number = placed(window, token="tok_confirm", until="Your bank asks you to confirm")
    page = at_the_belt(window, password)
    look_for(page, number)
    page.get_by_role("link", name="Put on hold").click()
    page.get_by_role("button", name="Put on hold").click()
    page.get_by_role("link", name="Belt").click()
    expect(page.locator("h1")).to_have_text("The belt is moving, and something needs you")
    page.get_by_role("link", name=number, exact=True).click()
    page.get_by_role("link", name="Release").click()
    page.get_by_role("button", name="Release").click()
    expect(page.locator("#why")).to_contain_text("It waits for its customer")


@pytest.mark.parametrize("language", ["en-GB", "ja-JP"])
def test_no_page_is_wider_than_a_phone_and_none_complains(
    visit: Visit, password: str, language: str
) -> None:
    window = visit(locale=language, **PHONE)
    number = placed(window)
    page = at_the_belt(window, password)
    page.goto(f"/ops/orders/?q={number}")
    here = page.url
    for path in ("/ops/", "/ops/orders/", "/ops/orders/?q=nobody", here, f"{here}cancel/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        expect(page.locator("html")).to_have_attribute("lang", language[:2])


def test_the_pictures_of_the_readme(visit: Visit, password: str, tmp_path: Path) -> None:
    """`PICTURES_TO=docs/pictures bin/e2e -k pictures` takes them anew."""
    folder = Path(os.environ.get("PICTURES_TO") or tmp_path)
    window = visit(viewport={"width": 1000, "height": 640})
    number = placed(window, until="Confirmed and paid")
    window.pages[-1].screenshot(path=folder / "customer.png")
    page = at_the_belt(window, password)
    page.screenshot(path=folder / "belt.png")
    look_for(page, number)
    page.screenshot(path=folder / "timeline.png", full_page=True)
    assert {path.name for path in folder.glob("*.png")} >= {
        "customer.png",
        "belt.png",
        "timeline.png",
    }


def test_what_a_customer_read_is_two_clicks_from_their_order_and_goes_out_again(
    visit: Visit, password: str
) -> None:
    window = visit()
    number = placed(window, until="Confirmed and paid")
    page = at_the_belt(window, password)
    look_for(page, number)
    page.get_by_role("link", name="order.confirmed → hana@example.com").first.click()
    frame = page.frame_locator("iframe.mail")
    expect(frame.locator("h1")).to_contain_text(number)
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status")).to_have_text("It is sent again.")
    expect(page.locator("#delivery .timeline > li")).to_have_count(2, timeout=SLOW_MS)
