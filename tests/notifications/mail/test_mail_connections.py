"""Mails on their way: to a mail server that wants TLS and a login, ends connections or refuses, and
to a developer's eyes.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from smtplib import SMTPDataError
from socket import SHUT_RDWR
from threading import Barrier
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives

from celery_ledger.testing import work_off
from config.start.environment import env, mailer_from
from notifications.mail import console
from notifications.mail.idle import idle
from notifications.mail.send import composed
from notifications.mail.smtp import EmailBackend
from notifications.models import Delivery, Shop
from tests.doubles.edges import Postbox, read
from tests.promises.brokers.servers import self_signed
from tests.shop import Api


@pytest.mark.django_db(transaction=True)
def test_mails_of_an_order_are_one_conversation_in_both_forms(
    api: Api, stock: Any, order_body: Any, postbox: Postbox, settings: Any
) -> None:
    settings.SHOP = {**settings.SHOP, "reply_to": "answers@example.com"}
    stock()
    api.place(order_body())
    work_off()
    (first, *_), (second, *_) = map(read, postbox.mails)
    assert first["References"] == first["In-Reply-To"] == second["References"]
    assert len({first["References"], first["Message-ID"], second["Message-ID"]}) == 3
    for mail in (first, second):
        types = [part.get_content_type() for part in mail.walk()]
        forms = ["multipart/alternative", "text/plain", "text/html"]
        assert types == (forms if mail is first else ["multipart/mixed", *forms, "text/plain"])
        assert mail["Reply-To"] == "answers@example.com"
        delivery = Delivery.objects.get(pk=mail["Message-ID"].strip("<>").partition("@")[0])
        again = composed(delivery, Shop.objects.of(None)).message().as_bytes()
        boundaries = [part.get_boundary() for part in mail.walk() if part.is_multipart()]
        assert len(set(boundaries)) == len(boundaries)
        there = [str(boundary) in again.decode() for boundary in boundaries]
        assert all(there), "each try says the same"
        assert mail["List-Unsubscribe"] is None, "nobody leaves the list of their own orders"


def mailer(port: int, **options: Any) -> EmailBackend:
    return EmailBackend(alias="default", host="127.0.0.1", port=port, timeout=5, **options)


def a_mail(name: str = "a") -> EmailMultiAlternatives:
    return EmailMultiAlternatives(name, "text", "shop@example.com", ["hana@example.com"])


def test_a_connection_serves_many_mails_until_the_server_or_its_number_ends_it(
    settings: Any,
) -> None:
    settings.MAILS_PER_CONNECTION_MAX = 3
    with Postbox() as postbox:
        for _ in range(4):
            mailer(postbox.port).send_messages([a_mail()])
        assert (len(postbox.mails), postbox.connections) == (4, 2)
        settings.MAIL_CONNECTION_IDLE_MAX_S = 0
        mailer(postbox.port).send_messages([a_mail()])
        assert postbox.connections == 3, "one that was idle for too long is not used"


def test_after_a_refusal_and_after_a_restart_the_next_mail_has_a_new_connection() -> None:
    with Postbox() as postbox:
        mailer(postbox.port).send_messages([a_mail()])
        postbox.refusals = 1
        with pytest.raises(SMTPDataError, match="later"):
            mailer(postbox.port).send_messages([a_mail()])
        mailer(postbox.port).send_messages([a_mail()])
        assert (len(postbox.mails), postbox.connections) == (2, 2)
        [kept] = idle._kept
        assert kept.connection.sock is not None
        kept.connection.sock.shutdown(SHUT_RDWR)  # as a server does that has had enough
        mailer(postbox.port).send_messages([a_mail()])
        assert (len(postbox.mails), postbox.connections) == (3, 3)


def test_a_process_that_is_forked_has_none_of_them_and_ends_none() -> None:
    with Postbox() as postbox:
        mailer(postbox.port).send_messages([a_mail()])
        child = os.fork()
        if child == 0:
            os._exit(len(idle._kept))
        assert os.waitpid(child, 0)[1] == 0
        mailer(postbox.port).send_messages([a_mail()])
        assert (len(postbox.mails), postbox.connections) == (2, 1)


def test_at_most_so_many_connections_wait_for_mails(settings: Any) -> None:
    settings.MAIL_CONNECTIONS_IDLE_MAX = 2
    with Postbox() as postbox:
        began = Barrier(5)

        def send(_: int) -> None:
            began.wait(timeout=10)
            mailer(postbox.port).send_messages([a_mail()])

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(send, range(5)))
        assert len(postbox.mails) == 5
        assert len(idle._kept) <= 2


@pytest.mark.parametrize(
    ("password", "is_trusted", "fails"),
    [
        ("right", True, None),
        ("wrong", True, "SMTPAuthenticationError"),
        ("right", False, "SSLCertVerificationError"),
    ],
)
def test_a_mail_goes_over_tls_with_a_login_or_not_at_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    is_trusted: bool,
    fails: str | None,
) -> None:
    certificate = self_signed(tmp_path)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Postbox(certificate=certificate, login=("shop", "right")) as postbox:
        ours = mailer(postbox.port, use_tls=True, username="shop", password=password)
        raised = None
        try:
            ours.send_messages([a_mail()])
        except OSError as exc:
            raised = type(exc).__name__
        assert (raised, len(postbox.mails)) == (fails, 0 if fails else 1)


@pytest.mark.parametrize(
    ("url", "ours"), [("consolemail://", "console"), ("smtp://127.0.0.1:25", "smtp")]
)
def test_a_url_of_a_mail_server_leads_to_our_edge(
    monkeypatch: pytest.MonkeyPatch, url: str, ours: str
) -> None:
    monkeypatch.setenv("EMAIL_URL", url)
    mailer_of_url = mailer_from(env.email_url("EMAIL_URL"), timeout_s=5)
    assert mailer_of_url["BACKEND"] == f"notifications.mail.{ours}.EmailBackend"


def test_in_development_a_mail_is_printed_as_it_is_read() -> None:
    out = StringIO()
    mail = EmailMultiAlternatives(
        "ご注文を受け付けました",
        "鮭のにぎり × 2",
        "寿司屋 <shop@example.com>",
        ["hana@example.com"],
    )
    mail.attach_alternative("<p>鮭</p>", "text/html")
    console.EmailBackend(alias="default", stream=out).send_messages([mail])
    printed = out.getvalue()
    for words in (
        "From: 寿司屋 <",
        "To: hana@",
        "Subject: ご注文を",
        "鮭のにぎり × 2\n(and text/html)",
    ):
        assert words in printed, printed
    assert "<p>" not in printed
    mail.attach("receipt-K7QM.txt", "¥600", "text/plain")
    console.EmailBackend(alias="default", stream=out).send_messages([mail])
    assert "(and text/html, receipt-K7QM.txt)\n" in out.getvalue()
