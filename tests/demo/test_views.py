"""The pages. No broker is needed: the jobs wait in the ledger."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import polib
import pytest
from django.conf import settings
from django.db import connections
from django.test import Client as HttpClient
from django.utils import translation

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from demo.menu import MENU
from orders.inputs.order import OrderInput
from orders.models import Fulfilment, Order, State, Stock
from orders.payments.models import PaymentOperation
from tests.demo.pages import Placed, filled_in, status_page, text
from values.refused import Refused

# --- the shop -------------------------------------------------------------------------------------


def test_the_menu_shows_prices_and_what_is_left(visitor: HttpClient) -> None:
    answer = visitor.get("/")
    assert answer.status_code == 200
    assert "Salmon nigiri 鮭 ¥300" in text(answer)
    assert "Sea urchin nigiri 雲丹 · 3 left ¥680" in text(answer)
    assert "Eel nigiri 鰻 · sold out ¥520" in text(answer)
    assert re.search(r'<input[^>]*name="UNAGI-NIGIRI"[^>]*disabled', answer.content.decode())
    # a form that a cache hands to two visitors is one order
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db(transaction=True)
def test_ordering_places_an_order_and_leads_to_its_page(visitor: HttpClient) -> None:
    form_id = str(uuid4())
    answer = visitor.post("/", filled_in(form_id=form_id, **{"NATTO-MAKI": 1}))
    order = Order.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/o/{order.public_token}/")
    assert (order.client.name, order.external_id) == ("demo", f"web-{form_id}")
    assert (order.currency, order.total, order.email, order.locale) == (
        "JPY",
        820,
        "hana@example.com",
        "en",
    )
    lines = [(line.sku, line.name, line.quantity, line.unit_price) for line in order.lines.all()]
    assert lines == [("SAKE-NIGIRI", "Salmon nigiri", 2, 300), ("NATTO-MAKI", "Natto roll", 1, 220)]
    assert [job.args for job in Job.objects.filter(task="orders.tasks.reserve")] == [
        [[str(order.pk)], {}]
    ]


def test_a_price_in_the_form_is_not_looked_at(visitor: HttpClient) -> None:
    visitor.post("/", filled_in(price=1, total=1, **{"SAKE-NIGIRI-price": 1}))
    assert Order.objects.get().total == 600


def test_a_form_without_a_card_pays_with_the_one_that_works(visitor: HttpClient) -> None:
    visitor.post("/", filled_in(token=...))
    assert Order.objects.get().payment_token == "tok_ok"


def test_a_form_sent_again_leads_to_the_first_order(visitor: HttpClient) -> None:
    form = filled_in()
    first, second = visitor.post("/", form), visitor.post("/", form)
    assert (second.status_code, second["Location"]) == (303, first["Location"])
    assert Order.objects.count() == 1


def test_a_form_that_took_the_last_dish_leads_to_its_order_when_sent_again(
    visitor: HttpClient,
) -> None:
    form = filled_in(**{"UNI-NIGIRI": 3})
    first = visitor.post("/", form)
    Order.objects.get().reserve()
    again = visitor.post("/", form)
    assert (again.status_code, again["Location"]) == (303, first["Location"])
    assert "Sea urchin nigiri : Sold out." in text(
        visitor.post("/", filled_in(**{"UNI-NIGIRI": 1}))
    )


@pytest.mark.django_db(transaction=True)
def test_a_form_sent_five_times_at_once_is_one_order(visitor: HttpClient) -> None:
    form = filled_in()

    def send(_: int) -> str:
        try:
            return str(HttpClient().post("/", form)["Location"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as threads:
        places = list(threads.map(send, range(5)))
    assert places == [f"/o/{Order.objects.get().public_token}/"] * 5


def test_another_choice_in_a_form_that_has_ordered_is_asked_about_and_then_ordered(
    visitor: HttpClient,
) -> None:
    form = filled_in()
    visitor.post("/", form)
    first = Order.objects.get()
    asked = visitor.post("/", form | {"SAKE-NIGIRI": 3})
    assert asked.status_code == 422
    assert f"You have already placed order {first.number} from here." in text(asked)
    assert asked.context["form"]["SAKE-NIGIRI"].value() == "3"
    renewed = re.search(r'name="form_id" value="([^"]+)"', asked.content.decode())
    assert renewed
    assert renewed[1] != form["form_id"]
    visitor.post("/", form | {"SAKE-NIGIRI": 3, "form_id": renewed[1]})
    assert [order.units for order in Order.objects.order_by("id")] == [2, 3]


def test_another_card_in_a_form_that_has_ordered_is_asked_about_too(visitor: HttpClient) -> None:
    """Whose card was declined goes back and takes another one: that is no second click."""
    form = filled_in(token="tok_declined")
    visitor.post("/", form)
    asked = visitor.post("/", form | {"token": "tok_ok"})
    assert (asked.status_code, asked.context["form"]["token"].value()) == (422, "tok_ok")
    assert "You have already placed order" in text(asked)


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ({"SAKE-NIGIRI": 0}, "Choose at least one dish."),
        ({"SAKE-NIGIRI": ""}, "Choose at least one dish."),
        ({"SAKE-NIGIRI": 21}, "Salmon nigiri : Enter a whole number from 0 to 20."),
        ({"SAKE-NIGIRI": -1}, "Salmon nigiri : Enter a whole number from 0 to 20."),
        ({"SAKE-NIGIRI": "1.5"}, "Salmon nigiri : Enter a whole number from 0 to 20."),
        ({"SAKE-NIGIRI": "9" * 5000}, "Salmon nigiri : Enter a whole number from 0 to 20."),
        ({"SAKE-NIGIRI": "\x00"}, "Salmon nigiri : Enter a whole number from 0 to 20."),
        ({"UNI-NIGIRI": 4}, "Sea urchin nigiri : Only 3 left."),
        ({"UNAGI-NIGIRI": 1}, "Eel nigiri : Sold out."),
        ({"email": ""}, "E-mail : Enter an e-mail address."),
        ({"email": "nobody"}, "E-mail : Enter an e-mail address."),
        ({"email": '"quoted"@example.com'}, "E-mail : Enter an e-mail address."),
        ({"email": "hana@\u2603.example"}, "E-mail : Enter an e-mail address."),
        ({"email": "a\x00@example.com"}, "E-mail : "),
        ({"token": "tok_free_lunch"}, "Card : Choose one of these cards."),
        ({"form_id": "no uuid"}, "Form : Open the menu again to get a new one."),
        ({"form_id": ...}, "Form : Open the menu again to get a new one."),
    ],
)
def test_bad_input_is_refused_at_its_field(
    visitor: HttpClient, typed: dict[str, Any], complaint: str
) -> None:
    answer = visitor.post("/", filled_in(**typed))
    assert answer.status_code == 422
    assert complaint in text(answer)
    assert not Order.objects.exists()


def test_a_refused_form_keeps_what_was_typed(visitor: HttpClient) -> None:
    page = visitor.post("/", filled_in(email="taro@", **{"SAKE-NIGIRI": "21"})).content.decode()
    assert re.search(r'<input[^>]*name="SAKE-NIGIRI"[^>]*value="21"[^>]*aria-invalid="true"', page)
    assert 'value="taro@"' in page


def test_what_the_api_refuses_is_said_at_the_dish(
    visitor: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: object, draft: OrderInput) -> Order:
        raise Refused("invalid", "", errors=[("/lines/1/sku", "is off the menu")])

    monkeypatch.setattr("demo.ordering.place", refuse)
    answer = visitor.post("/", filled_in(**{"TAMAGO-NIGIRI": 1}))
    assert answer.status_code == 422
    assert "Egg omelette nigiri : is off the menu" in text(answer)


def test_the_form_is_guarded_against_other_sites(seeded: None) -> None:
    answer = HttpClient(enforce_csrf_checks=True).post("/", filled_in())
    assert answer.status_code == 403
    assert "This form is too old" in text(answer)
    assert not Order.objects.exists()


@pytest.mark.parametrize("charset", ["utf-16", "shift_jis"])
def test_a_form_that_is_not_in_utf8_is_refused(seeded: None, charset: str) -> None:
    visitor = HttpClient(enforce_csrf_checks=True, raise_request_exception=False)
    visitor.get("/")
    form = f"application/x-www-form-urlencoded; charset={charset}"
    assert visitor.post("/", b"email=a", content_type=form).status_code == 415


def test_a_form_that_says_utf8_is_read(visitor: HttpClient) -> None:
    form = "application/x-www-form-urlencoded; charset=UTF-8"
    assert visitor.post("/", urlencode(filled_in()), content_type=form).status_code == 303


@pytest.mark.django_db
def test_an_unstocked_shop_shows_everything_sold_out_and_takes_no_order() -> None:
    visitor = HttpClient()
    assert text(visitor.get("/")).count("sold out") == len(MENU)
    assert visitor.post("/", filled_in()).status_code == 422


@pytest.mark.django_db
def test_a_shop_that_was_stocked_over_the_api_needs_no_seed() -> None:
    Stock.objects.set_on_hand("SAKE-NIGIRI", 2, name="鮭")
    assert HttpClient().post("/", filled_in()).status_code == 303


def test_the_running_total_is_reckoned_from_the_menu(visitor: HttpClient) -> None:
    def total(**quantities: Any) -> str:
        return visitor.get("/", quantities, headers={"HX-Request": "true"}).content.decode()

    assert total(**{"SAKE-NIGIRI": 2, "MAGURO-NIGIRI": 1}) == "¥980"
    assert total() == "¥0"
    assert total(**{"SAKE-NIGIRI": 99}) == ""
    assert total(**{"UNI-NIGIRI": 4}) == ""


# --- the customer's page --------------------------------------------------------------------------


def test_the_page_shows_the_order_and_who_is_told(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    page = text(status_page(visitor, order))
    assert f"Order {order.number} We have your order" in page
    assert "Salmon nigiri × 2 ¥600 Total ¥600 Paid with card We keep h•••@example.com" in page
    assert "hana@" not in page


def test_the_page_is_for_the_holder_of_the_token_only(visitor: HttpClient, placed: Placed) -> None:
    answer = status_page(visitor, placed())
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Robots-Tag"] == "noindex"
    # "no-referrer" would turn our own forms' Origin into null
    assert answer["Referrer-Policy"] == "same-origin"
    assert "default-src 'self'" in answer["Content-Security-Policy"]


@pytest.mark.parametrize("token", ["unknown", "-", "x" * 3000])
def test_an_unknown_token_is_a_friendly_404(visitor: HttpClient, token: str) -> None:
    answer = visitor.get(f"/o/{token}/")
    assert answer.status_code == 404
    assert "There is no plate at this place" in text(answer)


@pytest.mark.parametrize("token", ["%ff", "a b", "a.b", "鮭"])
def test_a_malformed_token_is_a_404(visitor: HttpClient, token: str) -> None:
    assert visitor.get(f"/o/{token}/").status_code == 404


def belt(answer: Any) -> list[tuple[str, str]]:
    """Look and word of each step."""
    steps = re.findall(
        r'<li(?: class="(\w+)")?(?: aria-current="step")?>([^<]+)',
        answer.content.decode().split('class="belt"')[1],
    )
    return [(look, word.strip()) for look, word in steps]


def poll_every(answer: Any) -> str | None:
    found = re.search(r'hx-trigger="every (\w+)"', answer.content.decode())
    return found[1] if found else None


def reload_every(answer: Any) -> str | None:
    found = re.search(
        r'<noscript><meta http-equiv="refresh" content="(\d+)">', answer.content.decode()
    )
    return found[1] if found else None


def test_each_state_has_its_words_its_plates_and_its_pace(
    visitor: HttpClient, placed: Placed
) -> None:
    order = placed()
    answer = status_page(visitor, order)
    assert belt(answer)[:3] == [("done", "Received"), ("now", "Set aside"), ("", "Payment")]
    assert (poll_every(answer), reload_every(answer)) == ("1s", "3")

    order.reserve()
    answer = status_page(visitor, order)
    assert "Waiting for your payment" in text(answer)
    assert belt(answer)[1:4] == [("done", "Set aside"), ("now", "Payment"), ("", "Confirmed")]
    assert (poll_every(answer), reload_every(answer)) == ("1s", "3")

    order.assign(captured=order.total)
    order.confirm()
    answer = status_page(visitor, order)
    assert "Confirmed and paid" in text(answer)
    assert belt(answer)[2:] == [("done", "Payment"), ("done", "Confirmed"), ("now", "Delivery")]
    assert (poll_every(answer), reload_every(answer)) == ("10s", "10")

    order.move(State.COMPLETED)
    answer = status_page(visitor, order)
    assert "Delivered Enjoy your meal!" in text(answer)
    assert belt(answer)[4] == ("done", "Delivery")
    assert (poll_every(answer), reload_every(answer)) == (None, None)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "out_of_stock",
            "Sold out We are sorry: something you chose was sold just before. You have not been",
        ),
        (
            "payment_declined",
            "Payment declined Your bank declined the card. You have not been charged.",
        ),
        ("changed my mind", "Cancelled This order was cancelled. You have not been charged."),
    ],
)
def test_a_cancelled_order_says_why_and_is_over(
    visitor: HttpClient, placed: Placed, reason: str, words: str
) -> None:
    order = placed()
    order.move(State.CANCELLED, reason=reason)
    answer = status_page(visitor, order)
    assert words in text(answer)
    assert belt(answer)[1] == ("stuck", "Set aside")
    assert "ended here" in text(answer)
    assert (poll_every(answer), reload_every(answer)) == (None, None)


@pytest.mark.parametrize(
    ("reason", "refunded", "refund_pending", "words"),
    [
        ("out_of_stock", 0, 600, "sold just before. What you paid, ¥600, is paid back."),
        ("payment_declined", 600, 0, "declined the card. What you paid, ¥600, is paid back."),
        ("refunded", 100, 100, "cancelled. Of the ¥600 that you paid, ¥200 is paid back."),
        ("refunded", 0, 0, "cancelled. Of the ¥600 that you paid, nothing is paid back."),
    ],
)
def test_what_becomes_of_the_money_follows_the_amounts(
    visitor: HttpClient, placed: Placed, reason: str, refunded: int, refund_pending: int, words: str
) -> None:
    """Not the reason, which may be a client's own word."""
    order = placed()
    order.assign(captured=600, refunded=refunded, refund_pending=refund_pending)
    order.move(State.CANCELLED, reason=reason)
    page = text(status_page(visitor, order))
    assert words in page
    sentences = ("Paid back ¥" in page, "Being paid back ¥" in page)
    assert sentences == (bool(refunded), bool(refund_pending))


def test_what_was_booked_as_sent_by_mistake_is_not_delivered(
    visitor: HttpClient, placed: Placed
) -> None:
    order = placed()
    order.reserve()
    order.intend_charge()
    order.confirm(captured=600)
    Fulfilment.objects.ship(order).cancel()
    page = status_page(visitor, order)
    assert "Confirmed and paid" in text(page)
    assert page.content.decode().count('<li class="done">') == 4


def test_the_page_shows_each_parcel_and_where_it_is(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    order.reserve()
    order.intend_charge()
    order.confirm(captured=600)
    line = order.own_lines[0]
    Fulfilment.objects.ship(order, [(line, 1)], carrier="Bike <b>", tracking="12-34").cancel()
    Fulfilment.objects.ship(order, [(line, 1)], carrier="Yamato", tracking="47-25")
    Fulfilment.objects.ship(order, [(line, 1)], carrier="Bike <b>", tracking='https://b.example/"x')
    page = status_page(visitor, order)
    assert "Yamato · 47-25 · Where it is" in text(page)
    hrefs = re.findall(r'href="([^"]*)" rel="noreferrer"', page.content.decode())
    yamato = "https://member.kms.kuronekoyamato.co.jp/parcel/detail?pno=4725"
    assert hrefs == [yamato, "https://b.example/&quot;x"]
    assert ("Bike &lt;b&gt; · <a" in page.content.decode(), "12-34" in text(page)) == (True, False)


def test_an_order_whose_rest_was_cancelled_says_so(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    order.reserve()
    order.intend_charge()
    order.confirm(captured=600)
    Fulfilment.objects.ship(order, [(order.own_lines[0], 1)])
    order.cancel("no time")
    page = text(status_page(visitor, order))
    assert "Delivered in part The rest of your order was cancelled. Of the ¥600" in page
    assert "that you paid, ¥300 is paid back." in page
    assert "Salmon nigiri × 2, 1 not sent ¥600" in page


def test_an_order_whose_customer_is_next_says_so(visitor: HttpClient, placed: Placed) -> None:
    order = placed(token="tok_confirm")
    order.reserve()
    charge = order.intend_charge()
    action = {"type": "redirect_to_url", "url": "https://b.test/", "client_secret": None}
    PaymentOperation.objects.filter(pk=charge.pk).update(state="pending", action=action)
    order.record("order.action_required", charge_state="action_required")
    answer = status_page(visitor, order)
    assert "Your bank asks you to confirm Your dishes are set aside." in text(answer)
    assert 'href="https://b.test/"' in answer.content.decode()
    order.record("order.payment_failed", charge_state="failed")
    answer = status_page(visitor, order)
    assert "Payment declined Your dishes are still set aside" in text(answer)
    assert "https://b.test/" not in answer.content.decode()


def test_what_is_paid_on_delivery_has_no_step_for_it(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    Order.objects.update(payment_method="cod")
    order.refresh_from_db()
    order.reserve()
    assert poll_every(status_page(visitor, order)) == "10s"
    order.confirm()
    answer = status_page(visitor, order)
    assert "Your order is confirmed" in text(answer)
    assert belt(answer)[2:] == [("done", "Confirmed"), ("now", "Delivery")]


@pytest.mark.parametrize(
    ("refunded", "headline"), [(0, "Confirmed and paid"), (600, "Your order is confirmed")]
)
def test_what_is_not_paid_any_more_is_not_called_so(
    visitor: HttpClient, placed: Placed, refunded: int, headline: str
) -> None:
    order = placed()
    order.reserve()
    order.assign(refunded=refunded)
    order.confirm(captured=600)
    assert headline in text(status_page(visitor, order))


def test_a_held_order_says_that_a_person_is_looking(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    order.reserve()
    order.hold("payment_unknown")
    answer = status_page(visitor, order)
    assert "We are looking into it A person is checking your order." in text(answer)
    assert belt(answer)[2] == ("stuck", "Payment")
    assert poll_every(answer) == "10s"
    assert "payment_unknown" not in text(answer)


def test_a_poll_brings_the_changing_part_and_only_when_it_changed(
    visitor: HttpClient, placed: Placed, django_assert_num_queries: Any
) -> None:
    order = placed()
    poll: dict[str, Any] = {"headers": {"HX-Request": "true"}}
    path = f"/o/{order.public_token}/?version={order.version}"
    assert f'hx-get="{path}"' in status_page(visitor, order).content.decode()
    with django_assert_num_queries(1):
        unchanged = visitor.get(path, **poll)
    assert (unchanged.status_code, unchanged.content) == (204, b"")
    order.reserve()
    changed = visitor.get(path, **poll)
    assert changed.status_code == 200
    assert changed.content.decode().strip().startswith("<title>Waiting for your payment")
    assert "<html" not in changed.content.decode()
    assert "HX-Request" in changed["Vary"]


def test_a_line_without_a_name_is_called_by_its_sku(visitor: HttpClient, placed: Placed) -> None:
    order = placed()
    order.lines.update(name="")
    assert "SAKE-NIGIRI × 2 ¥600" in text(status_page(visitor, order))


def test_what_a_client_put_into_an_order_is_shown_as_text(
    visitor: HttpClient, placed: Placed
) -> None:
    order = placed()
    order.lines.update(name="<script>alert(1)</script>")
    page = status_page(visitor, order).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


# --- languages and looks --------------------------------------------------------------------------


def test_the_menu_speaks_the_visitors_language(visitor: HttpClient) -> None:
    answer = visitor.get("/", headers={"Accept-Language": "ja"})
    assert '<html lang="ja">' in answer.content.decode()
    assert "本日のお品書き" in text(answer)
    assert "雲丹 Sea urchin nigiri · 残り3" in text(answer)


def test_a_japanese_order_has_japanese_lines_and_errors(visitor: HttpClient) -> None:
    japanese: dict[str, Any] = {"headers": {"Accept-Language": "ja"}}
    assert "鮭 : 0から20までの整数を入力してください。" in text(
        visitor.post("/", filled_in(**{"SAKE-NIGIRI": 21}), **japanese)
    )
    visitor.post("/", filled_in(), **japanese)
    order = Order.objects.get()
    assert (order.locale, order.lines.get().name) == ("ja", "鮭")


def test_the_status_page_speaks_the_orders_language_unless_another_was_chosen(
    visitor: HttpClient, placed: Placed
) -> None:
    order = placed()
    Order.objects.filter(pk=order.pk).update(locale="ja-JP")
    answer = status_page(visitor, order)  # the browser asks for English
    assert "ご注文を受け付けました" in text(answer)
    assert answer["Content-Language"] == "ja"
    assert translation.get_language() == "en"  # and the thread is left as it was
    visitor.post("/i18n/setlang/", {"language": "en", "next": "/"})
    assert "We have your order" in text(status_page(visitor, order))


def test_an_order_in_a_language_that_we_lack_is_shown_in_the_visitors(
    visitor: HttpClient, placed: Placed
) -> None:
    order = placed()
    Order.objects.filter(pk=order.pk).update(locale="fr")
    assert "We have your order" in text(status_page(visitor, order))


def test_the_language_switch_works_without_javascript_and_comes_back(visitor: HttpClient) -> None:
    page = visitor.get("/").content.decode()
    assert '<button class="plain" name="language" value="ja" lang="ja">日本語</button>' in page
    answer = visitor.post("/i18n/setlang/", {"language": "ja", "next": "/o/x/"})
    assert (answer.status_code, answer["Location"]) == (302, "/o/x/")
    assert ">English</button>" in visitor.get("/").content.decode()


def test_no_page_has_an_inline_style_or_script(visitor: HttpClient, placed: Placed) -> None:
    for path in ("/", f"/o/{placed().public_token}/", "/o/nothing/"):
        page = visitor.get(path).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|hx-on", page), path


def test_the_error_page_needs_nothing_that_may_be_broken(
    visitor: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr("demo.menu.stock_left", fail)
    visitor.raise_request_exception = False
    answer = visitor.get("/")
    assert answer.status_code == 500
    assert "Something broke on our side" in text(answer)


def test_every_text_on_a_page_has_its_japanese() -> None:
    catalogue = {
        entry.msgid
        for entry in polib.pofile(str(settings.LOCALE_PATHS[0] / "ja/LC_MESSAGES/django.po"))
    }
    found = set()
    for path in settings.BASE_DIR.glob("[a-z]*/**/templates/**/*.html"):
        found |= set(re.findall(r"{% translate (?:\"([^\"]+)\"|'([^']+)') ", path.read_text()))
    assert len(found) > 20
    assert {double or single for double, single in found} - catalogue == set()


# --- with Stripe ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sk_test_x", "rk_test_x"])
def test_with_a_test_key_the_demo_shop_offers_stripes_test_cards(
    visitor: HttpClient, settings: Any, placed: Placed, key: str
) -> None:
    settings.PAYMENT_PROVIDER, settings.STRIPE_SECRET_KEY = "stripe", key
    cards = re.findall(r'value="((?:tok|pm)_[^"]+)"', visitor.get("/").content.decode())
    assert cards[0] == "pm_card_visa"
    assert {token.partition("_")[0] for token in cards} == {"pm"}
    assert placed(token=...).payment_token == "pm_card_visa"
    assert placed(token="pm_card_chargeDeclined").payment_token == "pm_card_chargeDeclined"
    assert visitor.post("/", filled_in(token="tok_ok")).status_code == 422


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x", ""])
def test_where_real_money_moves_the_demo_shop_takes_no_order_and_says_so(
    visitor: HttpClient, settings: Any, key: str
) -> None:
    settings.PAYMENT_PROVIDER, settings.STRIPE_SECRET_KEY = "stripe", key
    menu, order = visitor.get("/"), visitor.post("/", filled_in(token="pm_card_visa"))
    assert (menu.status_code, order.status_code, Order.objects.count()) == (200, 403, 0)
    assert "The demo shop is closed" in text(menu)
    assert "<form" not in menu.content.decode().split("<main")[1]


def test_the_page_says_how_it_is_paid_and_masks_where_it_goes(
    visitor: HttpClient, placed: Placed
) -> None:
    order = placed()
    assert visitor.get(f"/o/{order.public_token}/receipt/").status_code == 404, "nothing is paid"
    address = {"name": "佐藤 花", "line1": "神南1-2-3", "city": "渋谷区", "country": "JP"}
    order.reserve()
    order.assign(captured=order.total, shipping_address=address)
    order.confirm()
    page = text(status_page(visitor, order))
    assert "Paid with card" in page
    assert "Goes to 佐•••, 渋谷区, JP." in page
    assert ("神南" in page, "藤" in page) == (False, False)
    receipt = visitor.get(f"/o/{order.public_token}/receipt/")
    assert "Salmon nigiri (SAKE-NIGIRI) 2 × ¥300 ¥600" in text(receipt)
    assert "Paid (card) ¥600" in text(receipt)
    assert (receipt["X-Robots-Tag"], "no-store" in receipt["Cache-Control"]) == ("noindex", True)


@pytest.mark.django_db(transaction=True)
def test_another_card_is_taken_once_while_an_attempt_is_left(
    visitor: HttpClient, placed: Placed, settings: Any
) -> None:
    order = placed(token="tok_declined")
    where = f"/o/{order.public_token}/pay/"
    Order.objects.update(payment_attempts=2)
    work_off()
    assert f'action="{where}"' in status_page(visitor, order).content.decode()
    assert visitor.post(where, {"token": "tok_of_mine"}).status_code == 404
    for _press in range(2):
        answer = visitor.post(where, {"token": "tok_ok"})
        assert (answer.status_code, answer["Location"]) == (303, f"/o/{order.public_token}/")
    work_off()
    order.refresh_from_db()
    assert (order.payment_state, order.operations.count()) == ("paid", 2)
    assert where not in status_page(visitor, order).content.decode()
    settings.DEMO_SHOP = False
    assert visitor.post(where, {"token": "tok_ok"}).status_code == 404
