"""Goods, files and keys on the staff pages, in a real browser."""

from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.belt import at_the_belt
from tests.e2e.conftest import Visit
from tests.e2e.counter import SLOW_MS

HEAD = "external_id,email,currency,sku,name,quantity,unit_price,token,total\n"
ROW = "{name},hana@example.com,JPY,{sku},鮭,1,300,tok_ok,300\n"


def test_a_count_says_what_it_comes_to_while_it_is_typed(visit: Visit, password: str) -> None:
    page = at_the_belt(visit(), password)
    page.get_by_role("link", name="Stock", exact=True).click()
    page.get_by_role("link", name="SAKE-NIGIRI").click()
    page.get_by_role("link", name="Set the count").click()
    page.locator("input[name=on_hand]").fill("77")
    expect(page.locator("#outcome")).to_contain_text("→ 77")
    page.get_by_role("button", name="Set the count").click()
    expect(page.get_by_role("status")).to_have_text("Done: Set the count.")
    expect(page.locator(".figures")).to_contain_text("77")


def test_a_file_is_looked_at_taken_and_followed_to_its_end(
    visit: Visit, password: str, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    good = "".join(ROW.format(name=f"file-{n}", sku="SAKE-NIGIRI") for n in range(3))
    file.write_text(HEAD + good + ROW.format(name="file-9", sku="NOTHING"))
    page = at_the_belt(visit(), password)
    page.get_by_role("link", name="Files", exact=True).click()
    page.get_by_role("link", name="Import a file").click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="See what it would do").click()
    expect(page.locator("#outcome")).to_contain_text("no such sku: NOTHING")
    page.get_by_role("button", name="Import these 3 orders").click()
    progress = page.locator("#progress")
    expect(progress).to_contain_text("All of it is worked off.", timeout=SLOW_MS)
    expect(page.locator("#progress[hx-get]")).to_have_count(0, timeout=SLOW_MS)  # it is final
    expect(progress).to_contain_text("confirmed")
