"""A visitor breaks all that can be broken while ordering, in a real browser on the real stack."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.counter import TROUBLE_MS, order

BREAKING = ("Kill a worker", "Flush the broker", "Ring a bell twice")
ORDERING = ("Click twice", "Lose the answer")
NUMBER = re.compile(r"[0-9A-Z]{4}-[0-9A-Z]{4}")


def press(page: Page, word: str) -> str:
    """The sentence that the page answers with."""
    page.goto("/")
    page.get_by_role("button", name=word).click()
    page.wait_for_url(re.compile("#break$"))
    sentence: str = page.locator("#break > [role=status]").inner_text()
    return sentence


def test_all_five_are_pressed_while_orders_are_on_their_way(visit: Visit) -> None:
    window = visit()
    page = window.new_page()
    watcher = window.new_page()
    watcher.goto("/")
    figures = watcher.locator("#standing")
    expect(figures).to_contain_text("Nothing is lost and nothing is doubled")
    ordered = []
    for card, word in zip(("tok_slow", "tok_flaky", "tok_webhook_never"), BREAKING, strict=True):
        order(page, token=card)
        ordered.append(page.url)
        press(page, word)
        assert watcher.locator("#lost, #doubled").all_inner_texts() == ["0", "0"]
    for word in ORDERING:
        numbers = NUMBER.findall(sentence := press(page, word))
        assert len(numbers) == 1, sentence
        ordered.append(page.locator("#break a").first.evaluate("link => link.href"))
    for url in ordered:
        page.goto(url)
        expect(page.locator(".headline")).to_have_text("Confirmed and paid", timeout=TROUBLE_MS)
    # the watcher never reloads: htmx brings the news, and the killed worker's order is there too
    rows = figures.locator("tbody tr")
    expect(rows.nth(len(ordered))).to_be_visible(timeout=TROUBLE_MS)
    expect(figures.locator("dd").first).to_have_text("0", timeout=TROUBLE_MS)
    assert watcher.locator("#lost, #doubled").all_inner_texts() == ["0", "0"]
    for row in rows.all():
        expect(row.locator(".state")).to_have_class(re.compile("good"))


def test_the_panel_works_without_javascript(visit: Visit) -> None:
    page = visit(java_script_enabled=False, locale="ja-JP").new_page()
    page.goto("/")
    page.get_by_role("button", name="二度押す").click()
    page.wait_for_url(re.compile("#break$"))
    expect(page.locator("#break > [role=status]")).to_contain_text("二回送りました")
    expect(page.locator(".headline")).to_have_text("失われたものも、二重になったものもありません")
