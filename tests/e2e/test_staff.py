"""A shop's day on the staff pages, in a real browser: how many clicks each question takes."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import BrowserContext, expect

from demo.management.commands.seed import STAFF
from tests.e2e.belt import at_the_belt, look_for, placed
from tests.e2e.conftest import Visit
from tests.e2e.counter import PHONE, SLOW_MS


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


def long_order(window: BrowserContext, key: str) -> dict[str, Any]:
    """Sent in part, and named in words that have no place to break."""
    sku, word = "S" * 250, "W" * 200
    headers = {"Authorization": f"Bearer {key}"}

    def call(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        own = headers | {"Idempotency-Key": f"{method} {path}", "Prefer": "wait=10"}
        answer = window.request.fetch(path, method=method, headers=own, data=body)
        assert answer.ok, answer.text()
        return dict(answer.json())

    call("PUT", f"/v1/stock/{sku}", {"on_hand": 9, "name": word})
    line = {"sku": sku, "name": word, "quantity": 2, "unit_price": 100}
    address = dict.fromkeys(("name", "company", "line1", "city", "region"), word)
    order = call(
        "POST",
        "/v1/orders",
        {
            "currency": "JPY",
            "total": 200,
            "lines": [line],
            "note": "N" * 2000,
            "email": "hana@example.com",
            "payment": {"token": "tok_ok"},
            "tags": ["T" * 40],
            "customer": {"name": word},
            "shipping_address": address,
        },
    )
    sent = {"lines": [{"sku": sku, "quantity": 1}], "carrier": "C" * 100, "tracking": "4" * 200}
    call("POST", f"{order['links']['self']}/fulfilments", sent)
    call("POST", f"{order['links']['self']}/returns", {"reason": "R" * 200})
    return order


def test_a_long_word_widens_no_page_of_a_customer_or_of_staff(
    visit: Visit, password: str, api_key: str
) -> None:
    window = visit(**PHONE)
    order = long_order(window, api_key)
    page, its_page = at_the_belt(window, password), order["links"]["status_page"]
    here = f"/ops/orders/{order['id']}/"
    for path in (
        *(its_page, f"{its_page}receipt/", f"{its_page}withdraw/"),
        *(here, f"{here}edit/", f"{here}fulfil/", f"{here}announce/", f"{here}note/"),
        *("/ops/orders/", f"/ops/orders/?tag={'T' * 40}&state=confirmed", "/ops/actions/"),
    ):
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)


def test_a_return_is_announced_and_received_with_its_money_on_its_orders_page(
    visit: Visit, password: str
) -> None:
    window = visit()
    number = placed(window, until="Confirmed and paid")
    page = at_the_belt(window, password)
    look_for(page, number)
    for verb in ("Send", "Announce a return", "It has arrived"):
        page.get_by_role("link", name=f"{verb}…").click()
        page.get_by_role("button", name=verb, exact=True).click()
        expect(page.get_by_role("status")).to_have_text(f"Done: {verb}.")
    expect(page.locator("main")).to_contain_text("has arrived")
    page.get_by_role("link", name="Write a note…").click()
    page.get_by_label("What the others should know").fill("She was glad.")
    page.get_by_role("button", name="Write a note").click()
    expect(page.locator(".timeline")).to_contain_text(f"{STAFF}: She was glad.")


def test_a_customer_reads_times_in_their_own_zone(visit: Visit) -> None:
    window = visit(timezone_id="America/New_York")
    placed(window, until="Confirmed and paid")
    page = window.pages[-1]
    expect(page.locator("[data-zone]")).to_have_text("America/New_York")
    first = page.locator(".belt time").first
    read, moment = first.inner_text(), first.get_attribute("datetime") or ""
    there = datetime.fromisoformat(moment).astimezone(ZoneInfo("America/New_York"))
    assert there.strftime("%H:%M") in read


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
