"""The counter, as a customer uses it in a browser."""

import re

from playwright.sync_api import Page

PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
SLOW_MS = 20_000  # the bank may take five seconds, and the machine is busy
TROUBLE_MS = 60_000


def order(page: Page, *, token: str = "tok_ok") -> None:
    page.goto("/")
    page.locator("summary").click()
    page.locator(f"input[value={token}]").check()
    page.locator("button.main").click()
    page.wait_for_url(re.compile(r"/o/[\w-]+/$"))
