"""What mails say, in both languages and both forms: of every event that is mailed."""

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.management import CommandError, call_command
from pydantic import TypeAdapter

from notifications import events
from notifications.mail.checks import check_mails
from notifications.mail.examples import HAPPENING, example
from notifications.mail.message import Message, render
from notifications.mail.recipients import HOLDS_TOLD, recipients
from notifications.models import Event, Shop
from orders import snapshots
from tests.shop import Api
from values.shop import LANGUAGES

ORDERS = [kind for kind in HAPPENING if kind.startswith("order.")]
YAMATO = "https://member.kms.kuronekoyamato.co.jp/parcel/detail?pno=472575516733"
FACTS: dict[str, tuple[str, ...]] = {  # what a mail of the example says in either language
    "order.received": ("¥660", "¥440", "¥200", "¥1,300"),
    "order.action_required": ("¥1,300", "2026-11-30 17:30 JST"),
    "order.payment_failed": ("¥1,300", "2026-11-30 17:30 JST"),
    "order.confirmed": ("¥660", "¥440", "¥200", "¥1,300"),
    "order.held": (),
    "order.released": (),
    "order.fulfilled": ("× 2", "Yamato", "4725-7551-6733", YAMATO),
    "order.fulfilment_cancelled": ("× 2",),
    "order.completed": ("× 1", "¥1,300", "¥440"),
    "order.cancelled": ("¥1,300",),
    "order.refunded": ("¥1,300", "¥440"),
    "order.refund_failed": ("¥440",),
    "order.return_announced": ("× 2",),
    "order.return_received": ("× 1", "¥440"),
    "order.return_cancelled": ("× 2",),
    "order.withdrawn": ("2026-11-30 17:30:05 JST", "佐藤 花", "hana@example.com", "¥1,300"),
    "report.daily": ("2026-11-30", "¥2,600", "¥440", "¥2,160", "SAKE-NIGIRI 鮭"),
    "deliveries.failing": (
        *("shop.example.com", "12", "3", "answered 503", "deliveries retry"),
        *("K7QM-3XH9", f"{settings.SITE_URL}/ops/orders/{UUID(int=1)}/"),
        *("200+", f"{settings.SITE_URL}/ops/jobs/{UUID(int=3)}/", "SAKE-NIGIRI 鮭"),
        f"{settings.SITE_URL}/ops/told/suppressed/17/",
    ),
    "endpoint.failing": (
        "shop.example.com",
        "2026-11-30 17:30:05 JST",
        "answered 503",
        "12",
        "3",
        "75 %",
        "2026-12-05 17:30 JST",
        f"{settings.SITE_URL}/v1/webhook-endpoints/{UUID(int=2)}/replay",
        '{"since": "2026-11-28T08:30:05Z"}',
        '{"active": true}',
    ),
    "endpoint.disabled": (
        "shop.example.com",
        "2026-11-30 17:30:05 JST",
        "answered 503",
        "12",
        "3",
        "2026-12-05 18:10:00 JST",
        f"{settings.SITE_URL}/v1/webhook-endpoints/{UUID(int=2)}/replay",
        '{"since": "2026-11-28T08:30:05Z"}',
        '{"active": true}',
        "/v1/events?since=2026-12-05T09:10:00Z",
    ),
}
AS_IT_IS = re.compile("hana@example.com|answered 503|^python .*", re.MULTILINE)
LATIN_WORDS = re.compile(r"[a-z]{3,} [a-z]{2,}")
DEMO = ("belt", "kitchen", "dish", "Enjoy", "meal", "お料理", "お召し上がり")


class Markup(HTMLParser):
    """The tags of a page with the names of their attributes, its links, and what is read of it.
    Fails on a tag that is not closed.
    """

    EMPTY = ("meta", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, ...]] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.read = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, *sorted(name for name, _ in attrs)))
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.read += " "

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.read += data

    @property
    def links(self) -> list[str | None]:
        return [value for name, value in self.attributes if name == "href"]


def shop_of(**fields: Any) -> Shop:
    own = {"name": "Sushi Ya", "contact": "hello@example.com", "time_zone": "Asia/Tokyo"}
    return Shop(**{**settings.SHOP, **own, **fields})


def mail_of(kind: str, language: str = "en", **changes: Any) -> Message:
    """Of the example, in which the order or what the event is about says this instead."""
    event = example(kind, language)
    for name, value in changes.items():
        event.data[name] = {**event.data.get(name, {}), **value}
    return render(event, shop_of())


def words(text: str) -> str:
    return " ".join(text.split())


# --- every mail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ORDERS)
def test_an_example_is_as_the_orders_are(kind: str) -> None:
    """Else the tests below show nothing of those."""
    data = example(kind, "en").data
    TypeAdapter(snapshots.Order).validate_python(data["order"])
    given = {"fulfilment": snapshots.Fulfilment, "refund": snapshots.Refund}
    for name, shape in given.items():
        assert set(data.get(name, {})) <= set(shape.__annotations__)


def test_every_mail_is_written_in_both_languages_and_has_its_example_and_facts() -> None:
    folder = Path(settings.BASE_DIR) / "notifications/mail/templates/mail"
    for language in LANGUAGES:
        written = {path.stem for path in (folder / language).glob("*.*.txt")}
        assert written == set(HAPPENING) == set(FACTS)
    assert set(HAPPENING) <= {*events.KINDS, *events.SHOP_KINDS}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", HAPPENING)
def test_a_mail_says_its_facts_and_the_same_in_both_forms(kind: str, language: str) -> None:
    subject, text, html, _ = mail_of(kind, language)
    page = Markup(html)
    read = words(page.read)
    body = text.partition("\n-- \n")[0]
    for fact in FACTS[kind]:
        assert fact in body, fact
    if kind in ORDERS:
        assert "K7QM-3XH9" in subject
        assert f"{settings.SITE_URL}/o/…/" in body
    for line in filter(None, map(words, body.splitlines())):
        there = line in page.links if line.startswith("http") else line.rstrip(":") in read
        assert there, line
    assert read.count(words(subject)) == 2, "as its title and its headline"
    assert [word for word in DEMO if word in body + read] == []
    if language == "ja":
        assert not LATIN_WORDS.search(AS_IT_IS.sub("", body))
    assert "\n\n\n" not in text
    assert not {"{{", "{%"} & {*re.findall("{.", body)}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", HAPPENING)
def test_html_fetches_nothing_and_is_read_in_the_dark_and_on_a_phone(
    kind: str, language: str
) -> None:
    html = mail_of(kind, language).html
    page = Markup(html)
    assert {name for name, _ in page.attributes} & {"src", "background", "onclick"} == set()
    assert "url(" not in html
    assert all(str(link).startswith(("http://", "https://")) for link in page.links)
    assert ("lang", language) in page.attributes
    assert ("name", "viewport") in page.attributes
    assert ("content", "light dark") in page.attributes
    assert "@media (prefers-color-scheme: dark)" in html


def test_the_largest_order_stays_below_what_readers_cut_off_and_its_text_has_all() -> None:
    line = example("order.received", "ja").data["order"]["lines"][0]
    lines = [line | {"position": position, "name": "鮭" * 200} for position in range(250)]
    _, text, html, _ = mail_of("order.received", "ja", order={"lines": lines})
    assert len(html.encode()) < 40_000
    assert (html.count("鮭鮭<"), text.count("  鮭鮭")) == (settings.MAIL_HTML_LINES_MAX, 250)
    assert f"ほか {250 - settings.MAIL_HTML_LINES_MAX} 点" in html


HOSTILE = '"><script>x</script>\r\n\r\n<b onclick=x>\r\nBcc: all@example.com\n\n{{ site }}'


@pytest.mark.parametrize("kind", ORDERS)
def test_nobodys_words_become_markup_or_headers(kind: str) -> None:
    event = example(kind, "en")
    order = event.data["order"]
    order |= {"number": HOSTILE, "email": HOSTILE, "hold_reason": HOSTILE, "reason": HOSTILE}
    order["links"] = {"status_page": HOSTILE}
    for line in order["lines"]:
        line["name"] = HOSTILE
    for name in {"fulfilment"} & set(event.data):
        event.data[name] |= dict.fromkeys(("carrier", "tracking", "tracking_url"), HOSTILE)
    if order["withdrawal"]:
        order["withdrawal"] = order["withdrawal"] | {"name": HOSTILE}
    subject, _, html, _ = render(event, shop_of(name=HOSTILE, contact=HOSTILE))
    benign = {tags for each in HAPPENING for tags in Markup(mail_of(each).html).tags}
    assert Markup(html).tags <= benign
    assert "\n" not in subject
    assert "{{ site }}" in html, "words are no template"
    EmailMultiAlternatives(subject=subject, to=["a@example.com"]).message()


def test_a_shop_signs_what_its_customers_get_and_not_what_its_staff_gets() -> None:
    shop = shop_of(imprint="GmbH <HRB 1>")
    to_customer, to_staff = (
        render(example(kind, "en"), shop) for kind in ("order.held", "report.daily")
    )
    assert to_customer.text.endswith("\n-- \nSushi Ya\nhello@example.com\nGmbH <HRB 1>\n")
    assert "hello@example.com<br>GmbH &lt;HRB 1&gt;" in to_customer.html
    assert "GmbH" not in to_staff.text + to_staff.html


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_receipt_to_keep_comes_with_the_word_that_all_is_paid(language: str) -> None:
    order = example("order.confirmed", language).data["order"]
    lines = [order["lines"][0] | {"discount": 60}, order["lines"][1]]
    billed = {"name": "佐藤 花"}
    paid = {"total": 1240, "captured": 1240, "lines": lines, "billing_address": billed}
    receipt = mail_of("order.confirmed", language, order=paid).receipt
    facts = ("Sushi Ya", "K7QM-3XH9", "2026-11-30 17:30 JST", "佐藤 花", "SAKE-NIGIRI")
    for fact in (*facts, "2 × ¥300", "¥60", ": ¥600", "¥180", "¥20", "¥1,240"):
        assert fact in receipt, fact
    assert mail_of("order.confirmed", language, order=paid).receipt == receipt
    for unpaid in ({"captured": 0, "payment_method": "cod"}, {"total": 0, "captured": 0}):
        assert mail_of("order.confirmed", language, order=unpaid).receipt == ""
    assert [kind for kind in HAPPENING if mail_of(kind).receipt] == ["order.confirmed"]


# --- one by one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refund", "refunded", "says", "unsaid"),
    [
        (1300, 1300, "All that you paid, ¥1,300, has been paid back.", "So far"),
        (440, 1300, "With that, all that you paid, ¥1,300, is yours again.", "So far"),
        (440, 440, "Of the ¥1,300 that you paid, ¥440 has been paid back.", "So far"),
        (440, 700, "¥440 has been paid back. So far it is ¥700 altogether.", "All that"),
    ],
)
def test_a_refunds_mail_follows_the_amounts(
    refund: int, refunded: int, says: str, unsaid: str
) -> None:
    text = mail_of("order.refunded", refund={"amount": refund}, order={"refunded": refunded}).text
    assert says in text
    assert unsaid not in text
    assert "bank or card company" in text
    assert "bank" not in mail_of("order.refunded", order={"payment_method": "cod"}).text


@pytest.mark.parametrize(
    ("state", "withdrawn", "says"),
    [("partial", 1, (True, False)), ("full", 0, (False, False)), ("full", 1, (False, True))],
)
def test_a_parcels_mail_says_what_follows_and_what_does_not(
    state: str, withdrawn: int, says: tuple[bool, bool]
) -> None:
    lines = example("order.fulfilled", "en").data["order"]["lines"]
    lines[1]["withdrawn"] = withdrawn
    mail = mail_of("order.fulfilled", order={"fulfilment_state": state, "lines": lines})
    assert ("the rest follows" in mail.text, "Green tea × 1" in mail.text) == says
    assert mail.subject.startswith("A part of") == (state == "partial")


def test_a_parcel_without_a_carrier_or_with_an_address_for_a_number() -> None:
    nothing = {"carrier": None, "tracking": None, "tracking_url": None}
    text = mail_of("order.fulfilled", fulfilment=nothing).text
    assert ("Carrier" in text, "Track" in text) == (False, False)
    own = dict.fromkeys(("tracking", "tracking_url"), "https://bike.example/7")
    text = mail_of("order.fulfilled", fulfilment=own).text
    assert ("Tracking number" in text, text.count("https://bike.example/7")) == (False, 1)


HELD, FREE = {"held": True, "state": "reserved"}, {"state": "reserved"}
WITHDRAWN: dict[str, Any] = {"withdrawal": {"at": "", "name": None, "lines": []}}  # before
BY_WITHDRAWAL = {**WITHDRAWN, "reason": "withdrawn"}


@pytest.mark.parametrize(
    ("kind", "order", "beside", "is_mailed"),
    [
        *((kind, {}, {}, True) for kind in ORDERS),
        ("order.held", {"hold_reason": "delayed"}, {}, True),
        *(
            ("order.held", {"hold_reason": reason}, {}, False)
            for reason in ("disputed", "paid_twice", "refund_failed", "payment_unknown", "fraud?")
        ),
        ("order.released", {}, {"hold": {"reason": "disputed"}}, False),
        ("order.payment_failed", {"state": "cancelled"}, {}, False),
        ("order.payment_failed", {"held": True}, {}, False),
        ("order.completed", {"reason": None}, {}, False),
        *((kind, BY_WITHDRAWAL, {}, False) for kind in ("order.completed", "order.cancelled")),
        *((kind, WITHDRAWN, {}, True) for kind in ("order.completed", "order.cancelled")),
        ("order.return_announced", WITHDRAWN, {"return": {"reason": "withdrawn"}}, False),
        ("order.return_announced", WITHDRAWN, {"return": {"reason": "too small"}}, True),
        ("order.return_received", WITHDRAWN, {"return": {"reason": "withdrawn"}}, True),
        ("order.fulfilled", {"email": None}, {}, False),  # forgotten
        *((kind, {}, {}, False) for kind in ("order.updated", "order.reserved", "order.paid")),
    ],
)
def test_a_customer_is_told_of_what_concerns_them(
    kind: str, order: dict[str, Any], beside: dict[str, Any], is_mailed: bool
) -> None:
    event = example(kind if kind in HAPPENING else "order.confirmed", "en")
    event.kind = kind
    event.data["order"] |= order
    event.data |= beside
    assert (recipients(event) == ["hana@example.com"]) == is_mailed


@pytest.mark.parametrize("kind", ["order.fulfilled", "order.refunded", "order.return_received"])
def test_an_event_that_does_not_say_what_it_is_about_is_mailed_to_nobody(kind: str) -> None:
    """As those of releases before, and of what was done elsewhere before it came here."""
    event = example(kind, "en")
    event.data = {"order": event.data["order"]}
    assert recipients(event) == []


def test_the_page_of_mails_has_a_word_on_each_and_names_the_holds_that_are_told() -> None:
    page = (Path(settings.BASE_DIR) / "docs/mail.md").read_text()
    named = page.replace("`…_", "`order.return_")
    assert {kind for kind in HAPPENING if f"`{kind}`" not in named} == set()
    assert {reason for reason in HOLDS_TOLD if f"`{reason}`" not in page} == set()


# --- in the shop's own words ----------------------------------------------------------------------


def written(folder: Path, body: str) -> Path:
    path = folder / "mail/en/order.held.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "{% extends layout %}{% block subject %}Ahoy {{ order.number }}{% endblock %}"
        f"{{% block body %}}{body}{{% endblock %}}"
    )
    return folder


def use(settings: Any, folder: Path) -> None:
    settings.MAIL_TEMPLATES = str(folder)
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [str(folder)]}]


def test_a_shops_own_words_go_before_ours_and_in_both_forms(settings: Any, tmp_path: Path) -> None:
    use(settings, written(tmp_path, "Yo ho ho.\n\nAnd a bottle of tea."))
    mail = mail_of("order.held")
    assert (mail.subject, mail.text.splitlines()[:3]) == (
        "Ahoy K7QM-3XH9",
        ["Yo ho ho.", "", "And a bottle of tea."],
    )
    assert ">And a bottle of tea.</p>" in mail.html
    assert mail_of("order.held", "ja").subject.startswith("ご注文")
    assert check_mails(None) == []


@pytest.mark.parametrize("body", ["{% if %}", "{{ order.total|money }}", "{% include 'no.txt' %}"])
def test_words_that_cannot_be_written_stop_a_release_by_their_name(
    settings: Any, tmp_path: Path, body: str
) -> None:
    use(settings, written(tmp_path, body))
    [wrong] = check_mails(None)
    assert wrong.msg.startswith("mail/en/order.held.txt: Template")


# --- to look at -----------------------------------------------------------------------------------


def preview(*arguments: str) -> str:
    out = StringIO()
    call_command("mails", "preview", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_any_mail_is_previewed_of_an_example_or_of_an_order(
    api: Api, stock: Any, order_body: Any
) -> None:
    stock()
    number = api.place(order_body()).json()["number"]
    output = preview("order.received", "--order", number.lower(), "--language", "en")
    assert output.startswith(f"Subject: We have your order {number}\n\nThank you.")
    assert preview("order.held", "--language", "ja").startswith("Subject: ご注文 K7QM-3XH9 の")
    assert preview("order.held", "--html").startswith("<!doctype html>")
    assert preview("report.daily").startswith("Subject: Report for 2026-11-30")
    assert Event.objects.filter(kind="order.held").count() == 0
    with pytest.raises(CommandError, match=r"order\.held has happened to"):
        preview("order.held", "--order", number)
    with pytest.raises(CommandError, match="No order is ZZZZ-ZZZZ"):
        preview("order.held", "--order", "ZZZZ-ZZZZ")
