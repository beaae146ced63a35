"""What a visitor sees, in a real browser on the real stack."""

import re

import pytest
from playwright.sync_api import Page, expect

from demo.cards import SANDBOX
from tests.e2e.conftest import Visit
from tests.e2e.counter import PHONE, SLOW_MS, TROUBLE_MS, order


def headline(page: Page) -> str:
    return page.locator(".headline").inner_text()


def test_an_order_in_japanese_is_confirmed_before_the_visitors_eyes(visit: Visit) -> None:
    page = visit(locale="ja-JP").new_page()
    loads: list[str] = []
    page.on("domcontentloaded", lambda loaded: loads.append(loaded.url))
    order(page, token="tok_slow")
    assert headline(page) in ("ご注文を受け付けました", "お支払いを確認しています")
    page.evaluate("document.querySelector('[role=status]').wasHere = true")
    expect(page.locator(".belt li.now")).to_have_text(re.compile("お取り置き|お支払い"))
    expect(page.locator(".headline")).to_have_text("ご注文が確定しました", timeout=SLOW_MS)
    assert len([url for url in loads if "/o/" in url]) == 1  # no reload: htmx brought the news
    # a screen reader announces a change within a live region, not a new one
    assert page.evaluate("document.querySelector('[role=status]').wasHere") is True
    assert page.title().startswith("ご注文が確定しました")
    assert page.locator(".belt li.done").count() == 4
    assert page.locator("tfoot tr").first.inner_text().split() == ["合計", "¥980"]
    assert "h•••@example.com" in page.locator("main").inner_text()


def test_without_javascript_the_page_reloads_until_it_is_confirmed(visit: Visit) -> None:
    page = visit(java_script_enabled=False).new_page()
    order(page, token="tok_slow")
    assert headline(page) in ("We have your order", "Waiting for your payment")
    expect(page.locator(".headline")).to_have_text("Confirmed and paid", timeout=SLOW_MS)


def test_a_declined_card_is_said_and_ends_the_polling(visit: Visit) -> None:
    page = visit().new_page()
    order(page, token="tok_declined")
    expect(page.locator(".headline")).to_have_text("Payment declined", timeout=SLOW_MS)
    assert page.locator("[aria-current=step]").inner_text().split() == ["Payment", "ended", "here"]
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    page.wait_for_timeout(2500)
    assert polls == []


def test_a_card_that_its_holder_confirms_is_confirmed_on_the_banks_page(visit: Visit) -> None:
    page = visit(java_script_enabled=False).new_page()
    order(page, token="tok_confirm")
    expect(page.locator(".headline")).to_have_text("Your bank asks you to confirm", timeout=SLOW_MS)
    page.get_by_role("link", name="Confirm the payment with your bank").click()
    expect(page.locator(".lead")).to_have_text("Do you want to pay ¥980?")
    page.get_by_role("button", name="Yes, pay").click()
    page.wait_for_url(re.compile(r"/o/[\w-]+/$"))
    expect(page.locator(".headline")).to_have_text("Confirmed and paid", timeout=SLOW_MS)


def test_every_trouble_but_a_declined_card_ends_in_one_confirmed_order(visit: Visit) -> None:
    window = visit()
    pages = {}
    others = ("tok_declined", "tok_confirm")
    for token in (token for token, _words in SANDBOX if token not in others):
        pages[token] = window.new_page()
        order(pages[token], token=token)
    for page in pages.values():
        expect(page.locator(".headline")).to_have_text("Confirmed and paid", timeout=TROUBLE_MS)


def test_a_double_click_and_a_second_tab_lead_to_one_order(visit: Visit) -> None:
    window = visit()
    page, other = window.new_page(), window.new_page()
    page.goto("/")
    other.goto("/")
    form_id = page.locator("input[name=form_id]").input_value()
    other.evaluate("id => { document.querySelector('input[name=form_id]').value = id }", form_id)
    posts: list[str] = []
    window.on("request", lambda sent: posts.append(sent.url) if sent.method == "POST" else None)
    page.locator("button.main").dblclick()
    other.locator("button.main").click()
    for tab in (page, other):
        tab.wait_for_url(re.compile(r"/o/[\w-]+/$"))
    assert len(posts) >= 2
    assert page.url == other.url


def test_the_total_follows_the_quantities(visit: Visit) -> None:
    page = visit().new_page()
    page.goto("/")
    expect(page.locator("output")).to_have_text("¥980")
    page.get_by_label("Natto roll").fill("3")
    expect(page.locator("output")).to_have_text("¥1,640")


def test_a_refused_form_keeps_what_was_typed(visit: Visit) -> None:
    page = visit(java_script_enabled=False).new_page()
    page.goto("/")
    page.get_by_label("Sea urchin nigiri").fill("4")
    page.get_by_label("E-mail").fill("taro@example.com")
    page.locator("button.main").click()
    expect(page.get_by_role("alert")).to_contain_text("Sea urchin nigiri: Only 3 left.")
    assert page.get_by_label("Sea urchin nigiri").input_value() == "4"
    assert page.get_by_label("E-mail").input_value() == "taro@example.com"


def test_the_language_is_switched_and_kept_without_javascript(visit: Visit) -> None:
    page = visit(java_script_enabled=False).new_page()
    page.goto("/")
    page.get_by_role("button", name="日本語").click()
    expect(page.locator("h1")).to_have_text("本日のお品書き")
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "ja")


def test_nothing_is_wider_than_a_phone(visit: Visit) -> None:
    page = visit(locale="ja-JP", **PHONE).new_page()
    for path in ("/", "/o/nothing/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    order(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 21, 19)"


@pytest.mark.parametrize("javascript", [True, False])
def test_a_customer_withdraws_in_two_clicks(visit: Visit, javascript: bool) -> None:
    page = visit(java_script_enabled=javascript, **PHONE).new_page()
    order(page)
    expect(page.locator(".headline")).to_have_text("Confirmed and paid", timeout=SLOW_MS)
    page.get_by_role("link", name="Withdraw from contract here").click()
    page.get_by_label("Your name").fill("Hana")
    page.get_by_role("button", name="Confirm withdrawal").click()
    page.wait_for_url(re.compile(r"/o/[\w-]+/$"))
    assert headline(page) == "You have withdrawn from the contract"
    assert page.get_by_role("link", name="Withdraw from contract here").count() == 0


def test_a_customer_withdraws_from_one_piece_by_keyboard(visit: Visit) -> None:
    page = visit(**PHONE).new_page()
    order(page)
    expect(page.locator(".headline")).to_have_text("Confirmed and paid", timeout=SLOW_MS)
    page.get_by_role("link", name="Withdraw from contract here").click()
    page.get_by_label("Tuna nigiri").fill("0")
    page.get_by_label("Salmon nigiri").fill("1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/o/[\w-]+/$"))
    expect(page.get_by_text("You have withdrawn from Salmon nigiri × 1.")).to_be_visible()
    assert headline(page) == "Confirmed and paid"
    assert page.get_by_role("link", name="Withdraw from contract here").count() == 1
