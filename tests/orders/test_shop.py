"""What a shop says of itself: a row of its client's, or else the installation."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from notifications.models import Shop
from orders.models import ApiKey, Client, Order
from tests.doubles.edges import Postbox, read
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
IMPRINT = "Sushi Ya GmbH\nBerlin <HRB 1>"
OWN = {
    "name": "寿司屋, Sushi Ya",
    "logo_url": "https://cdn.example.com/logo.png",
    "contact": "hello@example.com",
    "reply_to": "answers@example.com",
    "imprint": IMPRINT,
    "time_zone": "Europe/Berlin",
    "language": "ja",
    "reservation_minutes": "90",
    "withdrawal_days": "14",
}
COUNTER = ("kitchen", "dishes", "Enjoy your meal", "belt", "お召し上がり", "お料理")


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("shop", *arguments, stdout=out)
    return out.getvalue()


def options(**fields: str) -> list[str]:
    return [f"--{name.replace('_', '-')}={text}" for name, text in fields.items()]


def test_a_shop_is_set_shown_and_left_to_the_installation_again(shop: Client) -> None:
    assert "name: Kaiten  (of the installation)\n" in run("show", "shop")
    output = run("set", "shop", *options(**OWN))
    assert "of the installation" not in output
    row = Shop.objects.get()
    assert (row.imprint, row.reservation_minutes, row.withdrawal_days) == (IMPRINT, 90, 14)
    assert run("show", "shop") == output
    output = run("set", "shop", "--name", "", "--withdrawal-days", "")
    assert "name: Kaiten  (of the installation)\n" in output
    assert "withdrawal_days: 0  (of the installation)\n" in output
    assert "language: ja\n" in output


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("name", "a\nb"),
        ("name", " "),
        ("name", "x" * 101),
        ("logo_url", "http://cdn.example.com/logo.png"),
        ("logo_url", 'https://x/" onerror="'),
        ("contact", "nul\x00"),
        ("imprint", "x" * 4001),
        ("time_zone", "Tokyo"),
        ("time_zone", "Asia/Edo"),
        ("time_zone", "../etc/passwd"),
        ("language", "fr"),
        ("reservation_minutes", "0"),
        ("reservation_minutes", "soon"),
        ("withdrawal_days", "366"),
        ("withdrawal_days", "-1"),
    ],
)
def test_what_a_shop_cannot_be_is_refused_by_name(shop: Client, field: str, text: str) -> None:
    with pytest.raises(CommandError, match=f"^{field} must"):
        run("set", "shop", *options(**{field: text}))
    assert not Shop.objects.exists()


def test_whoever_sets_nothing_or_nobodys_shop_is_told(shop: Client) -> None:
    with pytest.raises(CommandError, match="Say what to set: --name, --logo-url"):
        run("set", "shop")
    with pytest.raises(CommandError, match="There is no client nobody"):
        run("show", "nobody")


def test_postgres_keeps_the_limits(shop: Client) -> None:
    with pytest.raises(IntegrityError, match="shop_limits"):
        Shop.objects.create(owner=shop.pk, reservation_minutes=0)


def placed(api: Api, body: dict[str, Any]) -> Order:
    assert api.place(body).status_code == 202
    return Order.objects.get()


def test_goods_are_set_aside_for_as_long_as_the_shop_says(
    api: Api, stock: Any, order_body: Body, settings: Any
) -> None:
    settings.SHOP = {**settings.SHOP, "reservation_minutes": 45}
    stock()
    other = Api(ApiKey.objects.issue(Client.objects.create(name="other"), []))
    run("set", "other", "--reservation-minutes", "90")
    for one in (api, other):
        one.place(order_body(payment={"token": "tok_timeout"}))
    for order, minutes in zip(Order.objects.order_by("pk"), (45, 90), strict=True):
        order.reserve()
        assert order.expires_at is not None
        kept = order.expires_at - order.created_at
        assert timedelta(minutes=minutes) <= kept < timedelta(minutes=minutes + 5)


@pytest.mark.parametrize(
    ("locale", "kept"),
    [
        ("ja", "ja"),
        ("en_GB", "en-GB"),
        ("JA-jp", "ja-jp"),
        ("fil", "fil"),
        ("Japanese", None),
        ("", None),
        ("x" * 5000, None),
        ("日本語", None),
        (None, None),
        (..., None),
    ],
)
def test_a_locale_is_a_preference_and_refuses_nothing(
    api: Api, stock: Any, order_body: Body, locale: Any, kept: str | None
) -> None:
    stock()
    order = placed(api, order_body(locale=locale))
    assert order.snapshot()["locale"] == kept


def test_mails_say_the_shops_name_and_speak_its_language_to_whoever_has_none(
    api: Api, stock: Any, order_body: Body, postbox: Postbox
) -> None:
    stock()
    run("set", "shop", *options(**OWN))
    placed(api, order_body(locale="fr"))
    work_off()
    assert len(postbox.mails) == 2
    for mail, text, html in map(read, postbox.mails):
        assert str(mail["From"]).startswith('"寿司屋, Sushi Ya" <')
        assert text.endswith(f"\n-- \n寿司屋, Sushi Ya\nhello@example.com\n{IMPRINT}\n")
        assert "ご注文" in mail["Subject"]
        assert "寿司屋, Sushi Ya<br>hello@example.com<br>" in html
        assert mail["Reply-To"] == OWN["reply_to"]
        assert [word for word in COUNTER if word in text + html] == []


def test_a_customers_page_is_the_shops_and_the_counters_words_stay_at_the_counter(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    order = placed(api, order_body(locale=...))
    run("set", "shop", *options(**OWN))
    browser = HttpClient()
    pages = []
    for step in ("received", "reserved", "confirmed", "completed"):
        if step == "reserved":
            order.reserve()
        elif step == "confirmed":
            order.assign(captured=order.total)
            order.confirm()
        elif step == "completed":
            order.move("completed")  # type: ignore[arg-type]
        answer = browser.get(f"/o/{order.public_token}/")
        assert answer["Content-Language"] == "ja", "nobody asked for another"
        pages.append(answer.content.decode())
        browser_in_english = browser.get(
            f"/o/{order.public_token}/", headers={"Accept-Language": "en"}
        )
        pages.append(browser_in_english.content.decode())
    for page in pages:
        main = page.partition("</head>")[2].replace('class="belt"', "")
        assert [word for word in (*COUNTER, "Kaiten", "Menu") if word in main] == []
        assert "寿司屋, Sushi Ya" in page.partition("</title>")[0]
        assert 'src="https://cdn.example.com/logo.png"' in page
        assert "Sushi Ya GmbH<br>Berlin &lt;HRB 1&gt;" in page
        assert "Europe/Berlin" in page
    policy = browser.get(f"/o/{order.public_token}/")["Content-Security-Policy"]
    assert "img-src 'self' https:" in policy
    assert "default-src 'self'" in policy
    at_home = order.created_at.astimezone(Shop.objects.get().zone).strftime("%Y-%m-%d %H:%M")
    assert f">{at_home}</time>" in pages[0]


def test_a_reason_in_a_persons_words_is_no_state_of_the_page(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    order = placed(api, order_body(locale="en"))
    order.cancel("completed")
    page = HttpClient().get(f"/o/{order.public_token}/").content.decode()
    assert ("This order was cancelled." in page, "Delivered" in page) == (True, False)
