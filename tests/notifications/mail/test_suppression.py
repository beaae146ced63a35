"""Addresses that nothing is mailed to: how they come on the list, what becomes of their mails, and
how they come off it; on a real mail server.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as here
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from config import doctor
from notifications import events
from notifications.mail.answers.refusal import knows_no_mailbox
from notifications.models import Alert, Attempt, Delivery, Event, Suppression
from notifications.oversight import metrics
from notifications.oversight.audit import DELIVERIES
from notifications.oversight.tasks import tell_of_trouble
from notifications.tasks import forget_old_deliveries
from orders.audit import broken
from orders.models import Client
from tests.doubles.edges import Postbox, read

pytestmark = pytest.mark.django_db(transaction=True)
DAY, HOUR, A_WHILE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=21)
GONE, ANN = "nobody@example.com", "ann@example.com"
UNKNOWN = "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown"
Mail = Callable[..., UUID]


@pytest.fixture
def mail(shop: Client, postbox: Postbox) -> Mail:
    """An order's mail to this address, tried once; its subject."""
    order = {"number": "K7QM-3XH9", "locale": "en", "currency": "JPY", "total": 1, "lines": []}
    links = {"links": {"status_page": "/o/x/"}}

    def record(address: str) -> UUID:
        subject = uuid4()
        data = {"order": order | links | {"email": address}}
        with transaction.atomic():
            events.record("order.confirmed", subject=subject, seq=1, owner=shop.pk, data=data)
        work_off()
        return subject

    return record


def later(*, waited: timedelta = A_WHILE) -> None:
    """So much time is over, and whatever waited for it is tried."""
    Attempt.objects.update(at=F("at") - waited)
    times = {"created_at": F("created_at") - waited, "delivered_at": F("delivered_at") - waited}
    Delivery.objects.update(**times)
    due = {"due_at": timezone.now()}
    Job.objects.filter(state="waiting", due_at__lt=timezone.now() + waited).update(**due)
    work_off()


def of(subject: UUID) -> Delivery:
    return Delivery.objects.get(event__subject=subject)


def answers_of(one: Delivery) -> list[str]:
    return list(one.attempts.order_by("pk").values_list("answer", flat=True))


def listed() -> list[tuple[str, str]]:
    return list(Suppression.objects.order_by("pk").values_list("address", "why"))


def run(command: str, *words: str) -> str:
    output = StringIO()
    call_command(command, *words, stdout=output)
    return output.getvalue()


# --- coming on the list ---------------------------------------------------------------------------


def test_a_mailbox_that_is_unknown_twice_while_others_are_served_is_mailed_no_more(
    mail: Mail, postbox: Postbox
) -> None:
    postbox.refused[GONE] = UNKNOWN
    first = mail(GONE)
    assert (listed(), of(first).state, of(first).tries) == ([], "waiting", 1), "once is not enough"
    assert Job.objects.get(state="waiting").due_at > timezone.now() + timedelta(minutes=15)
    mail(ANN)
    Job.objects.filter(state="waiting").update(due_at=timezone.now())
    work_off()
    assert (listed(), of(first).tries) == ([], 2), "nor twice at once, as somebody hurries it"
    later()
    assert listed() == [(GONE, "bounced")]
    one = of(first)
    assert (one.state, one.tries, one.suppressed) == ("failed", 3, True)
    assert answers_of(one)[0].startswith("no such mailbox: 550 5.1.1 <[hidden]>: Recipient")
    asked = len(postbox.recipients)

    second = of(mail(f"NoBody@{GONE.partition('@')[2].upper()}"))
    assert (second.state, second.tries, second.suppressed) == ("failed", 1, True)
    assert len(postbox.recipients) == asked, "the server was not asked"
    [why] = answers_of(second)
    assert why.startswith("not sent, nothing is mailed to this address: bounced since")
    assert "5.1.1" in why
    output = run("deliveries", "why", str(second.pk))
    assert why in output
    assert "manage.py mails unsuppress" in output


@pytest.mark.parametrize(
    "answer",
    [
        "554 5.7.1 <nobody@example.com>: Relay access denied",
        "550 5.7.1 Relaying denied: user unknown",
        "550 relay not permitted",
        "550 5.1.8 <shop@example.com>: Sender address rejected: user unknown",
        "552 5.2.2 Mailbox full",
        "450 4.1.1 User unknown for now",
        "530 5.7.0 Authentication required",
    ],
)
def test_what_is_wrong_with_us_or_passes_puts_nobody_on_the_list(
    mail: Mail, postbox: Postbox, answer: str
) -> None:
    postbox.refused[GONE] = answer
    subject = mail(GONE)
    for _ in range(3):
        mail(ANN)
        later()
    assert (listed(), of(subject).suppressed) == ([], False)
    assert "SMTPRecipientsRefused" in answers_of(of(subject))[0]


def test_a_server_that_knows_no_mailbox_at_all_puts_nobody_on_the_list(
    mail: Mail, postbox: Postbox
) -> None:
    """As one that takes every domain for its own, or has lost its directory."""
    postbox.refused = dict.fromkeys((GONE, ANN), UNKNOWN)
    subjects = [mail(GONE), mail(ANN)]
    for _ in range(3):
        later(waited=HOUR)
    assert listed() == []
    assert "mail: 2 overdue" in doctor.deliveries().sentence, "it is told as what it is"
    postbox.refused = {GONE: UNKNOWN}
    later(waited=HOUR)
    assert of(subjects[1]).state == "delivered"
    later(waited=HOUR)
    assert listed() == [(GONE, "bounced")]


def test_a_relay_that_knows_nobody_but_the_staff_puts_no_customer_on_the_list(
    mail: Mail, postbox: Postbox
) -> None:
    customers = [f"x{number}@example.com" for number in range(3)]
    postbox.refused = dict.fromkeys(customers, UNKNOWN)
    for address in (*customers, "staff@example.net"):
        mail(address)
    later()
    assert listed() == []
    for number in range(2):
        mail(f"y{number}@example.com")
    later(waited=HOUR)
    assert [address for address, _ in listed()] == customers, "as many others are served by now"


def test_what_a_refusal_means_is_read_from_its_code_and_else_from_its_words() -> None:
    gone: list[tuple[int, bytes | str]] = [
        (550, b"5.1.1 The email account that you tried to reach does not exist.\n5.1.1 see there"),
        (550, "5.1.2 Host or domain name not found"),
        (553, "5.1.3 bad address syntax"),
        (556, "5.1.10 the domain takes no mail"),
        (550, "No such user here"),
        (550, "Unknown user"),
        (553, b"sorry, mailbox does not exist"),
        (551, "Recipient not found"),
        (550, "5.1.1 <a@example.com>: User unknown in relay recipient table"),
    ]
    other: list[tuple[int, bytes | str]] = [
        (550, "5.1.0 Address rejected"),
        (550, "5.1.1 rejected by policy: your server is on a blocklist"),
        (550, "5.1.1 <shop@example.com>: Sender address rejected: User unknown"),
        (550, "5.1.7 bad sender address"),
        (550, "5.4.1 Recipient address rejected: Access denied"),
        (550, "Requested action not taken: mailbox unavailable"),
        (551, "User not local; please try elsewhere"),
        (550, "Sender verify failed: unknown user"),
        (550, "blocked: mailbox does not exist at 15.1.1.2"),
        (553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
        (554, "No such user"),
        (451, "5.1.1 what"),
        (550, b"\xff\xfe"),
        (550, ""),
    ]
    assert [pair for pair in gone if not knows_no_mailbox(*pair)] == []
    assert [pair for pair in other if knows_no_mailbox(*pair)] == []


# --- what people are told -------------------------------------------------------------------------


def test_an_address_is_told_once_and_its_mails_are_no_trouble(
    mail: Mail, postbox: Postbox, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REPORT_EMAILS = ["staff@example.com"]
    postbox.refused[GONE] = UNKNOWN
    first = mail(GONE)
    mail(ANN)
    later()
    Suppression.objects.update(since=timezone.now() - HOUR)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            mail(GONE)
            tell_of_trouble.delay()
            work_off()
            Alert.objects.update(mailed_at=F("mailed_at") - DAY)
            Suppression.objects.update(since=F("since") - DAY)
    digests = Delivery.objects.filter(event__kind="deliveries.failing")
    assert digests.count() == 1, "told once, though the day is over"
    _, text, _ = read(postbox.mails[-1])
    [one] = Suppression.objects.all()
    assert "Addresses that nothing is mailed to any more: 1" in text
    assert f"/ops/told/suppressed/{one.pk}/" in text
    assert GONE not in str(Event.objects.get(kind="deliveries.failing").data)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    assert (doctor.deliveries().is_wrong, list(broken(DELIVERIES, limit=9))) == (False, [])
    [family] = [one for one in metrics.families() if one.name.endswith("in_trouble")]
    assert [one.value for one in family.samples if one.value] == []
    assert doctor.suppressed().sentence == "Addresses that nothing is mailed to: 1."
    assert of(first).state == "failed"

    Suppression.objects.add(ANN, why="complained")
    Suppression.objects.filter(address=ANN).update(since=timezone.now() - HOUR)
    tell_of_trouble.delay()
    work_off()
    assert digests.count() == 2
    newest = Event.objects.filter(kind="deliveries.failing").order_by("pk").last()
    assert newest
    assert newest.data["unmailed"]["count"] == "1", "of those only what is new"
    Suppression.objects.add("Staff@example.com", why="complained")
    assert doctor.suppressed().is_wrong, "the staff itself would hear of nothing"


# --- coming off it --------------------------------------------------------------------------------


def test_an_address_that_comes_off_gets_what_was_given_up(mail: Mail, postbox: Postbox) -> None:
    assert "Every address is mailed." in run("mails", "suppressed")
    assert "Nothing is mailed there." in run("mails", "suppress", GONE, "--because", "a\ntrap")
    assert "It is on the list already." in run("mails", "suppress", GONE.upper())
    subject = mail(GONE)
    assert (of(subject).state, postbox.mails) == ("failed", [])
    [row] = run("mails", "suppressed").splitlines()
    assert (GONE in row, row.endswith("a trap")) == (True, True)
    assert GONE in run("mails", "suppressed", GONE)
    assert run("mails", "suppressed", ANN) == "It is mailed.\n"
    retry = ("deliveries", "retry", "--since", "1h")
    run(*retry)
    work_off()
    assert (of(subject).state, of(subject).suppressed, postbox.mails) == ("failed", True, [])
    Delivery.objects.update(resent_at=timezone.now() - HOUR)

    assert "It is mailed again" in run("mails", "unsuppress", GONE)
    with pytest.raises(CommandError, match="not on the list"):
        run("mails", "unsuppress", GONE)
    run(*retry)
    work_off()
    assert (of(subject).state, of(subject).suppressed) == ("delivered", False)
    assert len(postbox.mails) == 1
    for words in (("suppress", "nobody"), ("unsuppress", "@"), ("suppressed", "a b@c")):
        with pytest.raises(CommandError, match="no address of mail"):
            run("mails", *words)


def test_a_complaint_takes_the_place_of_any_other_reason_and_none_takes_its_own() -> None:
    add = Suppression.objects.add
    assert add(GONE, why="staff", details="asked by phone", who="hana")
    assert not add(GONE, why="bounced", details="550")
    assert listed() == [(GONE, "staff")]
    assert not add(GONE, why="complained", details="abuse")
    assert not add(GONE, why="bounced")
    [one] = Suppression.objects.all()
    assert (one.why, one.said, one.who) == ("complained", "abuse", "")
    assert not add(GONE, why="complained", details="again")
    assert Suppression.objects.get().said == "abuse", "a repeat changes nothing"
    for written, again in (("Da..Me@docomo.ne.jp", "da..me@DOCOMO.ne.jp"), ("x@ü.de", "X@Ü.de")):
        assert (add(written, why="bounced"), add(again, why="bounced")) == (True, False)
        [*_, stored] = listed()
        assert Suppression.objects.of(stored[0])
    assert add(ANN, why="staff", details="x" * 9000)
    assert len(Suppression.objects.get(address=ANN).said) == here.DELIVERY_ANSWER_MAX_CHARS


# --- erasing a person -----------------------------------------------------------------------------


def test_who_is_erased_is_still_not_mailed_and_cannot_be_read_on_the_list(
    mail: Mail, postbox: Postbox
) -> None:
    Suppression.objects.add(GONE, why="bounced", details="550 no user nobody")
    subject = mail(GONE)
    with transaction.atomic():
        events.forget(subject, members={"order": {"email": ""}})
    assert nobody_reads(GONE)
    assert answers_of(of(subject)) == ["(erased)"]
    again = of(mail(GONE.upper()))
    assert (again.state, again.suppressed, postbox.mails) == ("failed", True, [])
    assert not Suppression.objects.add(GONE, why="bounced", details="nobody"), "it is there already"
    assert not Suppression.objects.add(GONE, why="complained", details="nobody")
    [one] = Suppression.objects.all()
    assert (one.why, one.said) == ("complained", "")
    assert "(erased)" in run("mails", "suppressed")

    forget_old_deliveries.delay()
    work_off()
    assert Suppression.objects.count() == 1
    Suppression.objects.update(erased_at=timezone.now() - here.SUPPRESSION_ERASED_KEEP)
    forget_old_deliveries.delay()
    work_off()
    assert Suppression.objects.count() == 0
    Suppression.objects.add(GONE, why="bounced")
    with transaction.atomic():
        Suppression.objects.forget([GONE, "no address", ""])
    assert "It is mailed again" in run("mails", "unsuppress", GONE), "whoever knows it can ask"


def test_who_is_erased_while_their_mail_is_refused_is_not_named_on_the_list(
    mail: Mail, postbox: Postbox
) -> None:
    postbox.refused[GONE] = UNKNOWN
    subject = mail(GONE)
    mail(ANN)
    in_flight = of(subject)
    with transaction.atomic():
        events.forget(subject, members={"order": {"email": ""}})
    Delivery.objects.suppress(in_flight, "550 no mailbox of nobody")
    assert (Suppression.objects.of(GONE) is None, nobody_reads(GONE)) == (False, True)


def nobody_reads(address: str) -> bool:
    name = address.partition("@")[0]
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(t::text, ' ') FROM notifications_suppression AS t")
        return name not in cursor.fetchone()[0]
