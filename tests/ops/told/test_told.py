"""Who was told: endpoints, deliveries and mails on the staff pages, and what is done about them."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications import events
from notifications.mail import examples
from notifications.models import Attempt, Delivery, Endpoint, Event
from ops.models import StaffAction
from orders.models import Client, Order
from tests.doubles.edges import WebhookSink
from tests.ops.browsing import log_in, page_of, text
from tests.postgres.hands import in_threads
from tests.postgres.plans import plans_of
from values.shop import LANGUAGES

pytestmark = pytest.mark.django_db(transaction=True)
PAGE_BUFFERS_MAX = 1000
PAGE_BYTES_MAX = 100_000
HTML = b"<script>alert(1)</script><b>no</b>"


@pytest.fixture
def heard(shop: Client, sink: WebhookSink) -> Endpoint:
    sink.body = HTML
    headers = {"x-key": "their own secret"}
    return Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], headers=headers)


@pytest.fixture
def looker(django_user_model: Any) -> HttpClient:
    return log_in(django_user_model, "looker", "look")


def told_of(kind: str, channel: str = "webhook") -> Delivery:
    return Delivery.objects.get(event__kind=kind, channel=channel)


def page_of_delivery(one: Delivery, verb: str = "") -> str:
    return f"/ops/told/deliveries/{one.pk}/{verb}"


def page_of_endpoint(one: Endpoint, verb: str = "") -> str:
    return f"/ops/told/endpoints/{one.pk}/{verb}"


# --- who may, and what an empty house says --------------------------------------------------------


def test_who_may_look_sees_all_and_presses_nothing(
    heard: Endpoint, placed: Order, looker: HttpClient, django_user_model: Any
) -> None:
    one = told_of("order.confirmed")
    seen = [
        "/ops/told/",
        "/ops/told/deliveries/",
        page_of_delivery(one),
        page_of_endpoint(heard),
        "/ops/told/mails/",
        "/ops/told/mails/order.confirmed/ja/",
        "/ops/told/mails/order.confirmed/ja/html/",
    ]
    nobody, rows = log_in(django_user_model, "nobody"), StaffAction.objects.count()
    for path in seen:
        page = text(looker, path)
        assert re.findall(r'action="(/ops/\S*/(?:again|enable|test)/)"', page) == [], path
        assert "/ops/told/replay/" not in page, path
        assert nobody.get(path).status_code == 403, path
        assert HttpClient().get(path)["Location"].startswith("/admin/login/?next=/ops/told/")
    range_ = {"whom": str(heard.pk), "since": "1d", "what": "everything"}
    for path in (page_of_delivery(one, "again/"), *map(heard_at(heard), ("enable/", "test/"))):
        assert (looker.post(path).status_code, looker.get(path).status_code) == (403, 405)
    assert looker.get("/ops/told/replay/", range_).status_code == 403
    assert looker.post("/ops/told/replay/", range_).status_code == 403
    assert StaffAction.objects.count() == rows


def heard_at(endpoint: Endpoint) -> Any:
    return lambda verb: page_of_endpoint(endpoint, verb)


def test_an_empty_shop_says_what_would_stand_there(hana: HttpClient) -> None:
    page = text(hana, "/ops/told/")
    assert "No client has registered an endpoint." in page
    assert "A mail is tried for a day" in page
    assert "Nobody was told of anything yet." in text(hana, "/ops/told/deliveries/")
    page = text(hana, "/ops/told/deliveries/?channel=mail&state=failed")
    assert "There is no such delivery." in page
    assert f"is kept for {settings.DELIVERY_KEEP.days} days" in page


# --- looking --------------------------------------------------------------------------------------


def test_a_delivery_tells_what_was_sent_and_answered_and_keeps_every_secret(
    heard: Endpoint, sink: WebhookSink, placed: Order, hana: HttpClient
) -> None:
    one = told_of("order.confirmed")
    assert page_of_delivery(one) in text(hana, page_of(placed)), "from the order's line of time"
    page = text(hana, page_of_delivery(one))
    [sent] = [headers for headers, _ in sink.heard if headers["webhook-id"] == str(one.pk)]
    assert sent["webhook-signature"] in unescape(page)
    assert "answered 200" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "&quot;type&quot;: &quot;order.confirmed&quot;" in page
    assert (page_of(placed) in page, f"/ops/jobs/{one.job}/" in page) == (True, True)
    for path in (page_of_delivery(one), page_of_endpoint(heard), "/ops/told/"):
        page = text(hana, path)
        assert heard.secret not in page
        assert "their own secret" not in page
    assert "x-key" in text(hana, page_of_endpoint(heard))


def test_an_endpoint_says_what_it_wants_and_a_delivery_is_shown_so(
    heard: Endpoint, placed: Order, hana: HttpClient
) -> None:
    page = text(hana, page_of_endpoint(heard))
    assert ("full: all that the event tells" in page, "as they come" in page) == (True, True)
    Endpoint.objects.update(payload="thin", ordered=True)
    page = text(hana, page_of_endpoint(heard))
    assert "thin: which order it is, and where to read it" in page
    assert "one after another of each order and sku" in page
    first, last = told_of("order.received"), told_of("order.confirmed")
    for one in (first, last):
        in_order = {"subject": placed.pk, "seq": one.event.seq, "job": None}
        Delivery.objects.filter(pk=one.pk).update(state="waiting", delivered_at=None, **in_order)
    page = unescape(text(hana, page_of_delivery(last)))
    assert f'Comes after</dt><dd><a href="{page_of_delivery(first)}">' in page
    assert ('"links": {' in page, placed.email in page) == (True, False)
    assert "Comes after" not in text(hana, page_of_delivery(first))


def test_deliveries_are_found_by_each_of_what_is_known_of_them(
    heard: Endpoint, placed: Order, hana: HttpClient
) -> None:
    mail, hook = told_of("order.confirmed", "mail"), told_of("order.confirmed")
    Delivery.objects.filter(pk=hook.pk).update(state="failed", delivered_at=None)
    every = set(Delivery.objects.values_list("pk", flat=True))
    hooks = {one.pk for one in Delivery.objects.filter(channel="webhook")}
    confirmed = {one.pk for one in Delivery.objects.filter(event__kind="order.confirmed")}
    expected: dict[str, set[UUID]] = {
        "": every,
        "channel=webhook": hooks,
        "state=failed": {hook.pk},
        "state=failed&channel=mail": set(),
        "kind=order.confirmed": confirmed,
        "kind=order.confirmed&state=delivered": {mail.pk},
        "kind=order.confirmed&state=failed": {hook.pk},
        "kind=webhook.test": set(),
        "client=shop": every,
        "client=shop&kind=order.confirmed&channel=mail": {mail.pk},
        f"target={heard.pk}": hooks,
        f"target={heard.url.replace('?', '%3F')}&kind=order.confirmed": {hook.pk},
        f"target={heard.pk}&state=failed&since=1h": {hook.pk},
        "target=hana@example.com&kind=order.confirmed": {mail.pk},
        "target=nobody@example.com": set(),
        "since=1h": every,
        "since=2999-01-01": set(),
    }
    for asked, ids in expected.items():
        page = text(hana, f"/ops/told/deliveries/?{asked}")
        found = set(re.findall(r"/ops/told/deliveries/([0-9a-f-]{36})/", page))
        assert found == {str(id_) for id_ in ids}, asked


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("channel=smoke", "smoke is not one of the available choices"),
        ("kind=order.eaten", "order.eaten is not one of the available choices"),
        ("client=nobody", "No client is called so."),
        ("since=soon", "Write how long ago (30m, 2h, 7d)"),
        ("since=2026-13-40", "Write how long ago (30m, 2h, 7d)"),
        ("target=https://nowhere.example", "No endpoint is there"),
        ("before=1", "this is no place in the list"),
        ("target=%3Cscript%3E", "No endpoint is there"),
    ],
)
def test_what_cannot_be_looked_for_is_refused_at_its_field(
    hana: HttpClient, asked: str, says: str
) -> None:
    page = text(hana, f"/ops/told/deliveries/?{asked}", 422)
    assert says in page
    assert "<script>s" not in page


def test_endpoints_are_read_page_by_page(
    shop: Client, hana: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "OPS_ENDPOINTS_MAX", 1)
    for number in range(4):
        since = timezone.now() if number < 2 else None
        url = f"https://{number}.example.com/"
        Endpoint.objects.create(owner=shop.pk, url=url, events=["*"], failing_since=since)
    page = text(hana, "/ops/told/")
    assert re.findall(r"https://(\d)\.example\.com/</a>", page) == ["1", "3"]
    places = dict(re.findall(r'href="\?(troubled|before)=([0-9a-f-]+)"', page))
    page = text(hana, f"/ops/told/?troubled={places['troubled']}&before={places['before']}")
    assert re.findall(r"https://(\d)\.example\.com/</a>", page) == ["0", "2"]
    assert hana.get("/ops/told/?before=1").status_code == 404


@pytest.mark.parametrize("asked", ["since=999999d", "since=9999-12-31", "before={last}"])
def test_no_end_of_time_is_too_far(hana: HttpClient, asked: str) -> None:
    asked = asked.format(last=UUID(int=2**128 - 1))
    for more in ("", "&kind=order.held", "&state=failed&client=shop"):
        answer = hana.get(f"/ops/told/deliveries/?{asked}{more}")
        assert answer.status_code == (422 if "client" in more else 200)


def test_pages_follow_each_other_and_none_is_shown_twice_or_missed(
    heard: Endpoint, placed: Order, hana: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no index has what is looked for, and a page looks at few."""
    for name in ("OPS_ROWS_MAX", "OPS_LOOKED_AT", "OPS_LOOKED_AT_APART", "OPS_EVENTS_LOOKED_AT"):
        monkeypatch.setattr(settings, name, 2)
    asked = ["", "channel=mail", f"target={heard.pk}", "client=shop", "kind=order.confirmed"]
    for one in [*asked, f"target={heard.pk}&state=delivered", "client=shop&channel=mail"]:
        way: list[str] = []
        pages = list(walked(hana, f"?{one}"))
        for page in pages:
            way += re.findall(r"/ops/told/deliveries/([0-9a-f-]{36})/", page)
        assert len(way) == len(set(way)), one
        expected = Delivery.objects.all()
        expected = expected.filter(channel="mail") if "mail" in one else expected
        expected = expected.filter(endpoint=heard) if "target" in one else expected
        expected = expected.filter(event__kind="order.confirmed") if "kind" in one else expected
        assert set(way) == {str(found.pk) for found in expected}, one


def walked(client: HttpClient, asked: str) -> Iterator[str]:
    for _ in range(20):
        page = text(client, f"/ops/told/deliveries/{asked}")
        yield page
        following = re.search(r'<a href="(\?[^"]*before=[^"]*)"', page)
        if not following:
            return
        asked = unescape(following[1])
    raise AssertionError("it never ends")


# --- mails ----------------------------------------------------------------------------------------


def test_a_mail_is_shown_as_its_customer_read_it_in_a_frame_that_can_do_nothing(
    placed: Order, hana: HttpClient
) -> None:
    mail = told_of("order.confirmed", "mail")
    page = text(hana, page_of_delivery(mail))
    assert f'<iframe class="mail" sandbox src="{page_of_delivery(mail, "html/")}"' in page
    assert placed.number in page
    answer = hana.get(page_of_delivery(mail, "html/"))
    policy = answer["Content-Security-Policy"].split("; ")
    assert policy[:3] == ["sandbox", "default-src 'none'", "style-src 'unsafe-inline'"]
    assert "script" not in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "SAMEORIGIN"
    assert "鮭" in answer.content.decode()
    assert hana.get(page_of_delivery(mail))["X-Frame-Options"] == "DENY"


def test_of_a_forgotten_person_nothing_is_left_to_read(placed: Order, hana: HttpClient) -> None:
    mail = told_of("order.confirmed", "mail")
    events.forget(placed.pk, members={"order": {"email": None, "customer": None}})
    page = text(hana, page_of_delivery(mail))
    assert "hana@example.com" not in page
    assert "(erased)" in page
    assert page_of_delivery(mail, "again/") not in page
    assert text(hana, page_of_delivery(mail, "html/"))


def test_every_mail_has_an_example_in_every_language(shop: Client, hana: HttpClient) -> None:
    page = text(hana, "/ops/told/mails/")
    for kind in examples.HAPPENING:
        assert f"/ops/told/mails/{kind}/en/" in page
        example = text(hana, f"/ops/told/mails/{kind}/en/")
        for language in LANGUAGES:
            where = f"/ops/told/mails/{kind}/{language}/"
            assert f'href="{where}"' in example
            assert f'src="{where}html/"' in text(hana, where)
            assert f'lang="{language}"' in text(hana, f"{where}html/")
    named = "?client=shop"
    assert f"html/{named}" in text(hana, f"/ops/told/mails/order.held/ja/{named}")
    for path in ("order.eaten/ja/", "order.held/fr/", "order.held/ja/?client=nobody"):
        assert hana.get(f"/ops/told/mails/{path}").status_code == 404


# --- doing ----------------------------------------------------------------------------------------


def test_what_is_told_of_no_order_is_sent_again_from_its_own_page(hana: HttpClient) -> None:
    event = Event.objects.create(
        kind="report.daily", subject=uuid4(), seq=1, data={"mail": {"language": "en"}}
    )
    report = Delivery.objects.create(
        event=event, channel="mail", target="ann@example.com", state="failed"
    )
    for says in ("It is sent again.", "It is on its way already"):
        answer = hana.post(page_of_delivery(report, "again/"), {"back": "order"}, follow=True)
        assert answer.redirect_chain == [(page_of_delivery(report), 302)]
        assert 'hx-trigger="every 3s"' in answer.content.decode(), "until it has arrived"
        assert says in answer.content.decode()
    [action] = StaffAction.objects.all()
    assert (action.verb, action.subject) == ("send_again", f"delivery {report.pk}")


def test_a_range_is_counted_and_then_sent_again_once(
    heard: Endpoint, sink: WebhookSink, placed: Order, hana: HttpClient, ken: HttpClient
) -> None:
    hooks = Delivery.objects.filter(endpoint=heard)
    failed = hooks.filter(event__kind__in=["order.reserved", "order.confirmed"])
    failed.update(state="failed", delivered_at=None)
    query = {"whom": str(heard.pk), "since": "1h", "until": "", "what": "failed"}
    page = hana.get("/ops/told/replay/", query).content.decode()
    assert "<dd>2</dd>" in page
    assert not StaffAction.objects.exists()
    exactly = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert exactly.keys() >= query.keys()
    later = hooks.exclude(pk__in=failed).first()
    assert later
    Delivery.objects.filter(pk=later.pk).update(
        state="failed", delivered_at=None, created_at=timezone.now() + timedelta(seconds=1)
    )
    before = len(sink.heard)

    def press(hand: HttpClient) -> str:
        return hand.post("/ops/told/replay/", exactly, follow=True).content.decode()

    answers = in_threads(press, [hana, ken], hands=2)
    assert sum("2 deliveries are sent again." in answer for answer in answers) == 1
    assert sum("Nothing was sent again" in answer for answer in answers) == 1
    work_off()
    assert len(sink.heard) - before == 2, "what failed after the count was not among them"
    [action] = StaffAction.objects.all()
    assert (action.verb, action.subject) == ("replay", f"endpoint {heard.pk}")
    assert action.after == {"deliveries": 2}
    assert "Send a range again" in text(hana, page_of_endpoint(heard))
    assert "Send a range again" in text(hana, "/ops/actions/")


def test_of_many_it_says_more_than_so_many_and_sends_a_portion_at_a_press(
    placed: Order, hana: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    Delivery.objects.filter(channel="mail").update(state="failed", delivered_at=None)
    number = Delivery.objects.filter(channel="mail").count()
    assert number == 2
    for name in ("OPS_LOOKED_AT", "OPS_REPLAY_COUNTED_MAX", "WEBHOOK_REPLAY_MAX"):
        monkeypatch.setattr(settings, name, 1)
    query = {"whom": "mail", "since": "1h", "until": "", "what": "everything"}
    asked = hana.get("/ops/told/replay/", query).content.decode()
    assert "<dd>1 or more</dd>" in asked
    assert "1 deliveries of that time were looked at" in asked
    monkeypatch.setattr(settings, "OPS_LOOKED_AT", 2)
    page = hana.post("/ops/told/replay/", query, follow=True).content.decode()
    assert "1 delivery is sent again. More are left: send them, too." in page
    assert "<dd>1</dd>" in page
    page = hana.post("/ops/told/replay/", query, follow=True).content.decode()
    assert "There is nothing to send." in page
    assert [action.subject for action in StaffAction.objects.all()] == ["channel mail"] * 2


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"whom": "mail"}, 200),
        ({"whom": "mail", "since": "", "what": "failed"}, 422),
        ({"whom": "mail", "since": "1d", "what": "nothing"}, 422),
        ({"whom": "mail", "since": "1d", "until": "later", "what": "failed"}, 422),
        ({"whom": "mail", "since": "999999d", "until": "9999-12-31", "what": "failed"}, 200),
        ({"whom": "chat", "since": "1d", "what": "failed"}, 404),
        ({"whom": str(uuid4()), "since": "1d", "what": "failed"}, 404),
        ({}, 404),
    ],
)
def test_a_range_that_cannot_be_is_refused_at_its_field(
    hana: HttpClient, query: dict[str, str], status: int
) -> None:
    assert hana.get("/ops/told/replay/", query).status_code == status


def test_a_disabled_endpoint_is_called_again_and_what_it_missed_is_sent(
    heard: Endpoint, sink: WebhookSink, placed: Order, hana: HttpClient
) -> None:
    Endpoint.objects.disable(heard.pk, because="gone")
    Delivery.objects.filter(endpoint=heard).update(state="failed", delivered_at=None)
    page = text(hana, "/ops/told/")
    assert "disabled: it answered 410 Gone" in page
    assert page_of_endpoint(heard) in page
    query = {"whom": str(heard.pk), "since": "1h", "what": "failed"}
    page = hana.get("/ops/told/replay/", query).content.decode()
    assert "There is nothing to send." in page
    assert "It is disabled" in page
    for says in ("It is called again, from now on.", "Nothing was done"):
        assert says in hana.post(page_of_endpoint(heard, "enable/"), follow=True).content.decode()
    [action] = StaffAction.of(f"endpoint {heard.pk}")
    assert (action.verb, action.before["disabled_because"]) == ("enable_endpoint", "gone")
    assert "is called again" not in text(hana, page_of_endpoint(heard))
    hana.post("/ops/told/replay/", query)
    before = len(sink.heard)
    work_off()
    assert len(sink.heard) - before == Delivery.objects.filter(endpoint=heard).count()


def test_a_test_leads_to_its_answer_and_while_one_is_under_way_to_that(
    heard: Endpoint, sink: WebhookSink, hana: HttpClient
) -> None:
    sink.answers = [500]
    ways = [hana.post(page_of_endpoint(heard, "test/"))["Location"] for _ in range(2)]
    one = told_of("webhook.test")
    assert ways == [page_of_delivery(one)] * 2
    assert StaffAction.of(f"endpoint {heard.pk}").count() == 1
    assert 'hx-trigger="every 3s"' in text(hana, ways[0])
    work_off()
    page = text(hana, ways[0])
    assert ("answered 500" in page, "hx-trigger" in page) == (True, False)
    Endpoint.objects.update(active=False)
    page = hana.post(page_of_endpoint(heard, "test/"), follow=True).content.decode()
    assert "its owner has removed it" in page
    assert "removed by its owner" in page
    assert page_of_endpoint(heard, "test/") not in page


def test_what_does_not_arrive_leads_from_the_belt_to_its_page(
    heard: Endpoint, placed: Order, hana: HttpClient
) -> None:
    Delivery.objects.update(state="failed", delivered_at=None)
    page = text(hana, "/ops/")
    assert page_of_endpoint(heard) in page
    assert "/ops/told/deliveries/?channel=mail&amp;state=failed" in page
    assert "order.confirmed" in text(hana, "/ops/told/deliveries/?channel=mail&state=failed")
    Attempt.objects.filter(delivery__channel="mail").update(ok=False, answer="550 no such <box>")
    assert "550 no such &lt;box&gt;" in text(hana, "/ops/told/")


# --- in both languages, and cheap -----------------------------------------------------------------


def test_japanese_staff_read_japanese(heard: Endpoint, placed: Order, hana: HttpClient) -> None:
    Endpoint.objects.disable(heard.pk, because="failing")
    hana.cookies["django_language"] = "ja"
    hook, mail = told_of("order.confirmed"), told_of("order.confirmed", "mail")
    range_ = f"/ops/told/replay/?whom={heard.pk}&since=1h&what=everything"
    paths = ["/ops/told/", "/ops/told/deliveries/?since=1h", page_of_delivery(hook), range_]
    paths += [page_of_delivery(mail), page_of_endpoint(heard), "/ops/told/mails/"]
    for path in [*paths, "/ops/told/mails/order.held/en/"]:
        page = text(hana, path)
        assert 'lang="ja"' in page
        page = page.replace("accepted by the mail server", "")  # the words of the far side
        words = re.sub(r"<pre.*?</pre>|<[^>]*>", "\n", page, flags=re.DOTALL)
        english = re.findall(r"\b(?:the|is|was|it|to|of|all|given|again|Send|Told)\b", words)
        assert english == [], path


FILL = """
WITH past AS (
    SELECT n, now() - (%(past)s - n) * interval '10 s' AS at,
           (lpad(to_hex((extract(epoch FROM now() - (%(past)s - n) * interval '10 s') * 1000
                        )::bigint), 12, '0')
            || '7000' || lpad(to_hex(n), 16, '8'))::uuid AS id
      FROM generate_series(1, %(past)s) AS n),
 events AS (
    INSERT INTO notifications_event (id, kind, subject, seq, owner, data, at, recorded_at)
    SELECT id, CASE mod(n, 5000) WHEN 0 THEN 'order.erased' ELSE 'order.confirmed' END, id, 1,
           %(owner)s, jsonb_build_object('said', repeat(md5(n::text), 40)), at, at FROM past),
 deliveries AS (
    INSERT INTO notifications_delivery (id, event_id, channel, target, endpoint_id,
                                        state, tries, created_at, delivered_at)
    SELECT id, id, CASE WHEN mod(n, 2) = 0 THEN 'mail' ELSE 'webhook' END,
           CASE WHEN mod(n, 2) = 0 THEN 'c' || n || '@example.com' ELSE endpoint::text END,
           endpoint, state, 1, at, CASE state WHEN 'delivered' THEN at END
      FROM past, LATERAL (
           SELECT CASE WHEN mod(n, 2) = 1 THEN (%(endpoints)s::uuid[])[1 + mod(n / 2, 40)]
                  END AS endpoint,
                  CASE WHEN mod(n, 100) < 2 THEN 'failed'
                       WHEN n > %(past)s - 20000 AND mod(n, 2) = 1 THEN 'waiting'
                       ELSE 'delivered' END AS state) AS told
 RETURNING id, state)
INSERT INTO notifications_attempt (delivery_id, ok, answer, at)
SELECT id, state = 'delivered', 'answered 500', now() FROM deliveries
"""


@pytest.fixture
def past(shop: Client) -> list[Endpoint]:
    """PAST deliveries, half of them mails, a fiftieth given up; and forty endpoints, each with
    many that wait, half of them in trouble. Nothing is vacuumed.
    """
    endpoints = [
        Endpoint.objects.create(
            owner=shop.pk,
            url=f"https://example.com/{n}",
            events=["*"],
            failures=9 * (n % 2),
            failing_since=timezone.now() if n % 2 else None,
        )
        for n in range(40)
    ]
    values: dict[str, Any] = {
        "past": PAST,
        "owner": shop.pk,
        "endpoints": [one.pk for one in endpoints],
    }
    tables = [f"notifications_{name}" for name in ("event", "delivery", "attempt")]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        for table in tables:  # foreign keys are sound here
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        cursor.execute(FILL, values)
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")
            cursor.execute(f"ANALYZE {table}")
    return endpoints


PAST = 100_000
SPANS = ("999999d", "11d", "1d")


def test_no_page_looks_at_more_than_its_share_of_a_long_past(
    past: list[Endpoint], hana: HttpClient
) -> None:
    one = past[1]
    middle = Delivery.objects.order_by("-pk")[PAST // 2].pk
    failed = Delivery.objects.filter(state="failed", endpoint__isnull=False).first()
    assert failed
    asked = ["", "channel=mail", "channel=chat", "state=failed", "state=failed&channel=chat"]
    asked += ["state=waiting", "state=waiting&channel=mail", "state=delivered&channel=webhook"]
    asked += [f"target={one.pk}{more}" for more in ("", "&state=failed", "&state=delivered")]
    asked += [f"target={one.pk}{more}" for more in ("&state=waiting", "&kind=order.erased")]
    asked += ["kind=order.erased", "kind=order.confirmed", "kind=order.held", "client=shop"]
    asked += ["client=shop&channel=chat", "kind=order.erased&state=failed"]
    asked += ["client=shop&state=failed&channel=chat", "target=c500@example.com", "since=1h"]
    asked += [f"{each}&before={middle}" for each in ("", "channel=chat", "client=shop")]
    paths = [f"/ops/told/deliveries/?{each}" for each in asked]
    paths += ["/ops/told/", page_of_endpoint(one), page_of_delivery(failed)]
    ranges = [f"since={since}&what={what}" for since in SPANS for what in ("failed", "everything")]
    whom = ["mail", one.pk, failed.endpoint_id]
    paths += [f"/ops/told/replay/?whom={each}&{range_}" for each in whom for range_ in ranges]
    costs = {}
    for path in paths:
        answers: list[Any] = []
        plans = plans_of(lambda path=path, to=answers: to.append(hana.get(path)))  # type: ignore[misc]
        costs[path] = sum(plan.buffers for plan in plans)
        assert answers[0].status_code == 200, path
        assert len(answers[0].content) < PAGE_BYTES_MAX, path
    print(costs)
    assert {path: cost for path, cost in costs.items() if cost >= PAGE_BUFFERS_MAX} == {}
