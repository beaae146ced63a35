"""What needs a person is said once a day, in one mail, and only when something is new."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.models import Alert, Event
from notifications.oversight.tasks import tell_of_trouble
from orders.inputs.stock import StockSetting
from orders.models import Order, Stock
from orders.tasks import expire_orders
from tests.doubles.edges import Postbox, read
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Look = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def look(postbox: Postbox, settings: Any) -> Look:
    """The subjects and texts of the mails to the staff that come of one look."""
    settings.REPORT_EMAILS = ["ann@example.com"]

    def mails() -> list[tuple[str, str]]:
        before = len(postbox.mails)
        tell_of_trouble.delay()
        work_off()
        read_ones = [read(raw) for raw in postbox.mails[before:]]
        to_staff = [(mail, text) for mail, text, _ in read_ones if "ann@" in str(mail["to"])]
        return [(str(mail["subject"]), text) for mail, text in to_staff]

    return mails


def dead_job() -> Job:
    job = Job.objects.filter(pk=expire_orders.delay().id)
    ended = {"state": "dead", "finished_at": timezone.now(), "error": {"type": "KeyError"}}
    job.update(**ended)
    return job.get()


def a_day_later() -> None:
    Alert.objects.update(mailed_at=timezone.now() - timedelta(days=1))
    for rows in (Job, Order, Event):
        name = {Job: "finished_at", Order: "updated_at", Event: "recorded_at"}[rows]
        rows.objects.update(**{name: timezone.now() - timedelta(days=2)})


def test_all_that_needs_a_person_is_one_mail_and_only_news_brings_another(
    api: Api, order_body: Any, look: Look, settings: Any
) -> None:
    assert look() == []
    Stock.objects.describe({"A": StockSetting(on_hand=9, low_at=5), "B": StockSetting(on_hand=9)})
    lines = [{"sku": "B", "quantity": 1, "unit_price": 100}]
    assert api.place(order_body(lines=lines, total=100)).status_code == 202
    work_off()
    Order.objects.update(held=True, hold_reason="disputed")
    job, order = dead_job(), Order.objects.get()
    Stock.objects.describe({"A": StockSetting(on_hand=4), "B": StockSetting(on_hand=1)})
    settings.LANGUAGE_CODE = "en"
    [(subject, text)] = look()
    assert subject == "What needs you: 1 on hold, jobs that died, low stock"
    assert f"{order.number}: its customer disputes the payment at the bank" in text
    assert f"{settings.SITE_URL}/ops/orders/{order.pk}/" in text
    assert f"expire_orders: KeyError\n{settings.SITE_URL}/ops/jobs/{job.pk}/" in text
    assert "A : 4 are free, told at 5" in " ".join(text.split())
    assert "B" not in text.split("Goods that run low")[1].split("staff")[0]
    dead_job()
    assert look() == [], "once a day at most"
    Job.objects.exclude(pk=job.pk).filter(state="dead").delete()
    a_day_later()
    assert look() == [], "nothing is new"
    settings.LANGUAGE_CODE, settings.DIGEST_SHOWN, settings.DIGEST_COUNTED_MAX = "ja", 1, 1
    newest = dead_job()
    [(subject, text)] = look()
    assert subject.startswith("ご確認ください：保留 1 件、失敗したジョブ")
    assert "失敗したジョブ：1+ 件" in text
    assert str(newest.pk) in text
    assert str(job.pk) not in text


def test_goods_that_run_low_are_news_and_nobody_to_tell_is_told(look: Look, settings: Any) -> None:
    settings.REPORT_EMAILS = []
    Stock.objects.describe({"A": StockSetting(on_hand=9, low_at=5)})
    Stock.objects.describe({"A": StockSetting(on_hand=4)})
    assert look() == []
    assert not Alert.objects.exists()
    settings.REPORT_EMAILS = ["ann@example.com"]
    assert len(look()) == 1
    a_day_later()
    assert look() == []
    Stock.objects.describe({"A": StockSetting(on_hand=9)})
    Stock.objects.describe({"A": StockSetting(on_hand=4)})
    assert len(look()) == 1
