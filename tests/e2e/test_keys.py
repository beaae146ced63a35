"""The keys of the staff pages, which can be turned off, and what is copied at a press."""

from playwright.sync_api import Page, expect

from tests.e2e.belt import at_the_belt, placed
from tests.e2e.conftest import Visit


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def test_keys_lead_to_the_search_and_from_row_to_row_and_are_turned_off(
    visit: Visit, password: str
) -> None:
    window = visit()
    older, newer = placed(window), placed(window)
    page = at_the_belt(window, password)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("j/?")
    expect(page.get_by_role("searchbox")).to_have_value("j/?")
    page.goto("/ops/orders/")
    for key, number in (("j", newer), ("j", older), ("k", newer)):
        page.keyboard.press(key)
        assert focused(page) == number
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_label("Use these keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.goto("/ops/orders/")  # it is remembered
    page.keyboard.press("/")
    page.keyboard.press("j")
    expect(page.get_by_role("searchbox")).not_to_be_focused()
    assert focused(page) not in (older, newer)


def test_an_id_is_copied_at_a_press(visit: Visit, password: str) -> None:
    window = visit(permissions=["clipboard-read", "clipboard-write"])
    number = placed(window)
    page = at_the_belt(window, password)
    page.goto(f"/ops/orders/?q={number}")
    page.get_by_role("button", name="copy").click()
    expect(page.get_by_role("button", name="copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") in page.url
