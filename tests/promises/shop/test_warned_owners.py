"""Workers are killed while the owners of endpoints are told: each is told once."""

from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from celery_ledger.failpoints import At
from celery_ledger.models import Job
from notifications.models import Endpoint, Event
from notifications.oversight.tasks import warn_owners
from orders.models import Client
from tests.doubles.edges import Postbox
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
KILLED_AT = (At.AFTER_CLAIM, At.BEFORE_COMMIT, At.AFTER_COMMIT)


def is_gone(path: Path) -> bool:
    return not path.exists()


def test_an_owner_is_told_once_wherever_a_worker_is_killed(
    stack: Stack, shop: Client, postbox: Postbox, tmp_path: Path
) -> None:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    stack.environment |= {
        "FAILPOINTS": str(folder),
        "REPORT_EMAILS": "ann@example.com",
        "EMAIL_URL": f"smtp://127.0.0.1:{postbox.port}",
    }
    since = timezone.now() - settings.ENDPOINT_PATIENCE * 0.6
    stack.start("worker", "--concurrency", "1")
    for number, place in enumerate(KILLED_AT, start=1):
        url = f"https://shop{number}.example.com/"
        Endpoint.objects.create(owner=shop.pk, url=url, events=["*"], failing_since=since)
        (folder / "draft").write_text("kill")
        order = (folder / "draft").rename(folder / place)
        for _ in range(2):  # by two clocks
            warn_owners.delay()
        until(partial(is_gone, order), f"killed {place}", within_s=30)
        until(lambda: not Job.objects.exclude(state="done").exists(), "all is done", within_s=60)
        assert (place, len(postbox.mails)) == (place, number)
    assert Event.objects.filter(kind="endpoint.failing").count() == len(KILLED_AT)
    assert Job.objects.filter(task=warn_owners.name, losses__gt=0).count() >= 2
