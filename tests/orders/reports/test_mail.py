"""The staff hears of each day once, in a text whose figures stand in columns."""

import email
import email.policy
from datetime import timedelta
from typing import Any

import pytest

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from config.start.environment import addresses
from notifications.models import Delivery, Endpoint, Event
from orders.models import Client
from orders.reports.tasks import compute_day
from tests.doubles.edges import Postbox, WebhookSink
from tests.shop.past_days import DAY, Sell, clock, give_back

pytestmark = pytest.mark.django_db(transaction=True)

ENGLISH = """\
2025-11-18, midnight to midnight in Asia/Tokyo, all clients.

EUR

  Orders                   1
  Gross              €123.45
  Refunds             €23.45
  Net                €100.00

  Hour   Orders             Gross           Refunds
  09:00       1           €123.45             €0.00
  21:00       0             €0.00            €23.45

   Units            Amount  Most sold
       1           €123.45  TORO Toro

JPY

  Orders                   2
  Gross           ¥1,000,660
  Refunds                 ¥0
  Net             ¥1,000,660

  Hour   Orders             Gross           Refunds
  12:00       2        ¥1,000,660                ¥0

   Units            Amount  Most sold
       1        ¥1,000,000  SAKE-NIGIRI 鮭
       2              ¥660  TORO トロ
"""

JAPANESE = """\
2025-11-18（Asia/Tokyo の 0 時から 24 時まで、全クライアント）

JPY

  注文数                  1
  総売上               ¥660
  返金                   ¥0
  純売上               ¥660

  時刻   注文数            総売上              返金
  12:00       1              ¥660                ¥0

    数量              金額  よく売れた品
       2              ¥660  SAKE-NIGIRI 鮭
"""


def compute() -> None:
    compute_day.delay(str(DAY))
    work_off(ahead=timedelta(days=1))


def read(postbox: Postbox) -> list[Any]:
    return [
        mail
        for raw in postbox.mails
        if "Report"
        in (mail := email.message_from_bytes(raw, policy=email.policy.default))["Subject"]
        or "日報" in mail["Subject"]
    ]


def test_the_staff_reads_all_clients_figures_in_columns(
    sell: Sell, stock: Any, settings: Any, postbox: Postbox
) -> None:
    settings.REPORT_EMAILS = ["ann@example.com"]
    stock("TORO", 9)
    toro = {"sku": "TORO", "quantity": 1, "unit_price": 12345, "name": "Toro"}
    order = sell(clock("09:00"), currency="EUR", total=12345, lines=[toro])
    give_back(order, 2345, clock("21:00"))
    sake = {"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 1_000_000}
    sell(clock("12:00"), total=1_000_000, lines=[sake])
    other = Client.objects.create(name="other")
    sell(
        clock("12:59"),
        client=other,
        total=660,
        lines=[toro | {"quantity": 2, "unit_price": 330, "name": "トロ"}],
    )
    compute()
    [mail] = read(postbox)
    assert (mail["To"], mail["Subject"]) == (
        "ann@example.com",
        "Report for 2025-11-18: €100.00 net, ¥1,000,660 net",
    )
    assert mail.get_body(("plain",)).get_content().splitlines() == ENGLISH.splitlines()


def test_the_mail_is_in_the_shops_language(sell: Sell, settings: Any, postbox: Postbox) -> None:
    settings.REPORT_EMAILS, settings.LANGUAGE_CODE = ["hana@example.com"], "ja"
    sell(clock("12:00"))
    compute()
    [mail] = read(postbox)
    assert mail["Subject"] == "2025-11-18 の日報：純売上 ¥660"
    assert mail.get_body(("plain",)).get_content().splitlines() == JAPANESE.splitlines()


def test_each_reader_gets_one_mail_per_day_under_one_id(
    sell: Sell, settings: Any, postbox: Postbox
) -> None:
    settings.REPORT_EMAILS = ["ann@example.com", "hana@example.com", "ann@example.com"]
    sell(clock("12:00"))
    postbox.mails.clear()
    postbox.refusals = 1
    compute()
    compute()
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    mails = read(postbox)
    assert sorted(mail["To"] for mail in mails) == ["ann@example.com", "hana@example.com"]
    deliveries = Delivery.objects.filter(event__kind="report.daily")
    assert {mail["Message-ID"] for mail in mails} == {
        f"<{delivery.pk}@localhost>" for delivery in deliveries
    }
    assert sorted(deliveries.values_list("tries", flat=True)) == [1, 2]


@pytest.mark.parametrize(("readers", "mails"), [([], 0), (["ann@example.com"], 1)])
def test_a_day_without_orders_is_told_too_if_anybody_wants_to_hear(
    settings: Any, postbox: Postbox, readers: list[str], mails: int
) -> None:
    settings.REPORT_EMAILS = readers
    compute()
    assert [mail["Subject"] for mail in read(postbox)] == [
        "Report for 2025-11-18: nothing moved"
    ] * mails
    assert Event.objects.count() == mails


def test_no_clients_endpoint_hears_of_the_shops_figures(
    sell: Sell, settings: Any, postbox: Postbox, sink: WebhookSink, shop: Client
) -> None:
    settings.REPORT_EMAILS = ["ann@example.com"]
    sell(clock("12:00"))
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])
    compute()
    assert (Event.objects.filter(kind="report.daily").count(), sink.heard) == (1, [])


def test_a_wrong_address_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPORT_EMAILS", "ann@example.com, hana@example.com,ann@example.com")
    assert addresses("REPORT_EMAILS", []) == ["ann@example.com", "hana@example.com"]
    for wrong in ("ann", "ann@", "Ann <ann@example.com>", "ann@example.com\nBcc: x@example.com"):
        monkeypatch.setenv("REPORT_EMAILS", wrong)
        with pytest.raises(ValueError, match="ann"):
            addresses("REPORT_EMAILS", [])
