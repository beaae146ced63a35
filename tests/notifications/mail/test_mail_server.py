"""The mail server's edge: TLS and login for real, and one deadline for all of a call."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from django.core.mail import EmailMessage, mailers

from config import doctor
from config.start.environment import MAILER
from notifications.mail.smtp import mail_server_trouble
from tests.doubles.edges import Postbox, Reception
from tests.machine.ports import free_port
from tests.promises.brokers.servers import self_signed

LIMIT_S = 0.4
DROPS = 40  # each in time, all together ten times the limit
Use = Callable[..., None]


@pytest.fixture
def use(settings: Any) -> Use:
    """Have mails sent by the server at this port."""

    def change(port: int, **options: Any) -> None:
        given = {"host": "127.0.0.1", "port": port, "timeout": 5, **options}
        settings.MAILERS = {"default": {"BACKEND": MAILER, "OPTIONS": given}}

    return change


def authenticate(
    server: Any, session: Any, envelope: Any, mechanism: str, login: Any
) -> AuthResult:
    return AuthResult(success=login.password == b"right", handled=False)


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Postbox]]:
    """The port of a server with STARTTLS, for those who know the password."""
    pem = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    postbox, port = Postbox(), free_port()
    server = Reception(
        postbox,
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    server.start()
    yield port, postbox
    server.stop()


def send() -> None:
    message = EmailMessage("Hello", "there", "shop@example.com", ["hana@example.com"])
    mailers["default"].send_messages([message])


def test_a_server_with_tls_and_a_password_is_talked_to_by_doctor_and_by_mails(
    secured: tuple[int, Postbox], use: Use, settings: Any
) -> None:
    port, postbox = secured
    settings.DEBUG = True
    use(port, use_tls=True, username="shop", password="right")
    assert (doctor.mail().sentence, doctor.mail().is_wrong) == (
        "Mails are sent by a server.",
        False,
    )
    assert postbox.mails == [], "asking sends nothing"
    send()
    assert len(postbox.mails) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"use_tls": True, "username": "shop", "password": "wrong"}, "SMTPAuthenticationError"),
        (
            {"use_tls": True, "host": "localhost", "username": "shop", "password": "right"},
            "SSLCert",
        ),
        ({"use_ssl": True}, "SSLError"),
        ({"port": 1}, "ConnectionRefusedError"),
        ({"host": "nowhere.invalid"}, "gaierror"),
    ],
)
def test_doctor_says_why_a_server_takes_no_mails(
    secured: tuple[int, Postbox], use: Use, options: dict[str, Any], error: str
) -> None:
    use(**{"port": secured[0], **options})
    found = doctor.mail()
    assert found.is_wrong
    assert error in found.sentence
    assert "deliveries retry --channel mail" in found.remedy


@contextmanager
def dripping(*answers: bytes, drop: bytes) -> Iterator[tuple[int, list[str]]]:
    """A server that gives each of these answers, the first unasked, and then goes on with drops
    until it is cut; its port, and how it ended.
    """
    ended: list[str] = []

    def drip() -> None:
        wire, _ = server.accept()
        with wire:
            try:
                for answer in answers:
                    wire.sendall(answer)
                    wire.recv(65536)
                for _ in range(DROPS):
                    time.sleep(LIMIT_S / 4)
                    wire.sendall(drop)
                ended.append("to the end")
            except OSError:
                ended.append("cut")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        yield server.getsockname()[1], ended
        thread.join(timeout=10)


HELLO, OFFERS = b"220 here\r\n", b"250-here\r\n250 STARTTLS\r\n"


@pytest.mark.parametrize(
    ("answers", "drop", "options"),
    [
        ((b"220-here\r\n",), b"220-still here\r\n", {}),
        ((HELLO,), b"250-and this\r\n", {}),
        ((HELLO, OFFERS, b"220 go\r\n", b"\x16\x03\x03\x40\x00"), b"\x00", {"use_tls": True}),
        ((b"\x16\x03\x03\x40\x00",), b"\x00", {"use_ssl": True}),
        ((HELLO, b"250 here\r\n", b"250 from whom\r\n"), b"250-to whom\r\n", {}),
    ],
    ids=["greeting", "EHLO", "STARTTLS", "TLS", "envelope"],
)
def test_a_server_whose_answer_drips_is_cut_when_the_time_of_the_call_is_over(
    use: Use, settings: Any, answers: tuple[bytes, ...], drop: bytes, options: dict[str, Any]
) -> None:
    settings.MAIL_DEADLINE_S = LIMIT_S
    with dripping(*answers, drop=drop) as (port, ended):
        use(port, **options)
        with pytest.raises(TimeoutError, match=r"took longer than 0\.4 s"):
            send()
    assert ended == ["cut"], "the call has ended before the drops have"


def test_one_that_takes_the_connection_and_is_silent_is_named(use: Use, settings: Any) -> None:
    settings.MAIL_DEADLINE_S = LIMIT_S
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(silent.getsockname()[1])
        assert mail_server_trouble() == "TimeoutError: took longer than 0.4 s"
