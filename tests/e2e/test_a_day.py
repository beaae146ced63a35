"""The day of docs/a-day.md, without a shell: the shop's people on the staff pages, its customers on
theirs, and its storefront by the key that the pages have made.
"""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.belt import at_the_belt, look_for
from tests.e2e.conftest import Visit
from tests.e2e.counter import SLOW_MS

CLIENT = "tamago-and-co"
CUP, POT = "CUP", "POT"
PRICES = {CUP: 1200, POT: 3600}


def open_at(page: Page, *names: str) -> None:
    """One link after another."""
    for name in names:
        page.get_by_role("link", name=name, exact=True).first.click()


def done(page: Page, verb: str) -> None:
    page.get_by_role("button", name=verb, exact=True).click()
    expect(page.get_by_role("status")).to_have_text(f"Done: {verb}.")


def a_key(page: Page) -> str:
    """Of a new shop, with a name of its own that customers read."""
    open_at(page, "Settings", "New client…")
    page.locator("input[name=name]").fill(CLIENT)
    page.get_by_role("button", name="Add").click()
    open_at(page, "Shop settings…")
    page.locator("[name=name]").fill("Tamago & Co")
    page.locator("[name=withdrawal_days]").fill("14")
    page.get_by_role("button", name="Save").click()
    open_at(page, "Make a key…")
    page.get_by_role("button", name="Make one that may do everything").click()
    return page.locator("#key").inner_text()


def goods(page: Page, sku: str, on_hand: int) -> None:
    open_at(page, "Stock", "New goods…")
    page.locator("[name=sku]").fill(sku)
    page.locator("[name=on_hand]").fill(str(on_hand))
    page.get_by_role("button", name="Add").click()
    expect(page.locator("main")).to_contain_text(sku)


def order(page: Page, key: str, name: str, skus: list[str], **payment: Any) -> dict[str, Any]:
    """As the storefront places it; the answer."""
    lines = [{"sku": sku, "quantity": 1, "unit_price": PRICES[sku]} for sku in skus]
    body = {
        "external_id": name,
        "currency": "JPY",
        "email": f"{name}@example.com",
        "total": sum(PRICES[sku] for sku in skus),
        "lines": lines,
        "payment": payment,
    }
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": name, "Prefer": "wait=10"}
    answer = page.request.post("/v1/orders", data=body, headers=headers)
    assert answer.ok, answer.text()
    placed: dict[str, Any] = answer.json()
    return placed


def confirms_at_the_bank(hers: Page, order: dict[str, Any]) -> None:
    hers.goto(order["links"]["status_page"])
    hers.get_by_role("link", name="Confirm the payment with your bank").click()
    hers.get_by_role("button", name="Yes, pay").click()
    expect(hers.locator(".headline")).to_have_text("Confirmed and paid", timeout=SLOW_MS)


def withdraws(hers: Page) -> None:
    hers.get_by_role("link", name="Withdraw from contract here").click()
    hers.get_by_label("Your name").fill("Hana")
    hers.get_by_role("button", name="Confirm withdrawal").click()
    expect(hers.locator(".headline")).to_have_text("You have withdrawn from the contract")


def send(page: Page, order: dict[str, Any]) -> None:
    look_for(page, order["number"])
    open_at(page, "Send…")
    page.locator("[name=carrier]").fill("Yamato")
    page.locator("[name=tracking]").fill("471108150815")
    done(page, "Send")


def exported(page: Page, to: Path) -> None:
    open_at(page, "Files", "Export orders…")
    page.locator("select[name=client]").select_option(label=CLIENT)
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#progress")).to_contain_text("3 orders are written.", timeout=SLOW_MS)
    with page.expect_download() as download:
        page.get_by_role("link", name="orders-1.csv").click()
    download.value.save_as(to)


def is_sent_back(page: Page, customer: str) -> None:
    """The cup of an order of a pot and a cup: announced, and then it has arrived."""
    look_for(page, customer)  # the only hit is opened
    open_at(page, "Announce a return…")
    page.get_by_label(POT).fill("0")
    done(page, "Announce a return")
    open_at(page, "It has arrived…")
    expect(page.locator("#outcome")).to_contain_text("¥1,200")
    done(page, "It has arrived")


def see_the_figures(page: Page) -> None:
    open_at(page, "Stock", CUP)  # of twenty, three went and two came back
    expect(page.locator(".figures")).to_contain_text("19")
    open_at(page, "Report")
    page.locator("select[name=client]").select_option(label=CLIENT)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#figures")).to_contain_text("¥7,200", timeout=SLOW_MS)  # that was paid


def look_at_an_import(page: Page, file: Path) -> None:
    """They stand here already, and would stay as they are; in another currency they are refused."""
    open_at(page, "Files", "Import a file…")
    page.locator("select[name=client]").select_option(label=CLIENT)
    page.locator("input[type=file]").set_input_files(file)
    look = page.get_by_role("button", name="See what it would do")
    look.click()
    outcome = page.locator("#outcome")
    expect(outcome).to_contain_text("Import these 3 orders", timeout=SLOW_MS)
    file.write_text(file.read_text().replace("JPY", "EUR"))
    page.locator("input[type=file]").set_input_files(file)
    look.click()
    expect(outcome).to_contain_text("belongs to an earlier, other order", timeout=SLOW_MS)
    expect(outcome.locator("tr", has_text="hana")).to_have_count(1)


def test_a_shop_is_run_for_a_day_without_a_shell(
    visit: Visit, password: str, tmp_path: Path
) -> None:
    page, hers = at_the_belt(visit(), password), visit().new_page()
    key = a_key(page)
    goods(page, CUP, 20)
    goods(page, POT, 5)

    hana = order(page, key, "hana", [CUP], token="tok_confirm")
    taro = order(page, key, "taro", [POT, CUP], token="tok_ok")
    ken = order(page, key, "ken", [CUP], method="cod")
    confirms_at_the_bank(hers, hana)

    for placed in (hana, taro, ken):
        send(page, placed)
    expect(page.locator("main")).to_contain_text("order.paid")  # ken, at his door
    expect(hers.locator("main")).to_contain_text("471108150815", timeout=SLOW_MS)

    is_sent_back(page, "taro@example.com")
    withdraws(hers)
    look_for(page, hana["number"])
    open_at(page, "It has arrived…")
    done(page, "It has arrived")

    see_the_figures(page)
    exported(page, tmp_path / "orders.csv")
    look_at_an_import(page, tmp_path / "orders.csv")
