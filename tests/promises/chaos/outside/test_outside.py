"""The servers of the outside world do what the audits believe of them, also when they are killed in
the middle.
"""

import json
import signal
import smtplib
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.machine.ports import free_port
from tests.promises.chaos.outside.journal import entries
from tests.promises.processes import Tree
from tests.waiting import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TRIES = 200
Begin = Callable[..., tuple[int, Tree]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Start one of them and return its port, when it listens."""
    trees = []

    def start(module: str, *arguments: str) -> tuple[int, Tree]:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            f"tests.promises.chaos.outside.{module}",
            str(port),
            *arguments,
        ]
        trees.append(Tree(command, {}, tmp_path / f"{module}.log"))
        until(lambda: listens(port), f"{module} listens", within_s=30)
        return port, trees[-1]

    yield start
    for tree in trees:
        tree.kill()


def listens(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


def post(port: int, id_: str, *, forged: bool = False) -> int | None:
    """The status of the answer; None when none came."""
    body = json.dumps({"type": "order.received", "data": {"order": {"version": 1}}})
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign("another" if forged else id_, now, body)
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def mail(port: int, id_: str) -> bool:
    """Whether the server said that it took it."""
    message = EmailMessage()
    message["Message-ID"], message["From"], message["To"] = (
        f"<{id_}@localhost>",
        "a@localhost",
        "b@localhost",
    )
    message["Date"] = datetime.now(UTC)
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as server:
            server.send_message(message)
    except (OSError, smtplib.SMTPException):
        return False
    return True


@pytest.mark.soak
def test_a_webhook_is_noted_before_it_is_answered_and_some_are_refused_or_never_answered(
    begin: Begin, tmp_path: Path
) -> None:
    port, _ = begin("webhook_server", str(tmp_path / "heard"), "7", SECRET)
    answers = [post(port, str(index), forged=index == 0) for index in range(TRIES)]
    heard = list(entries(tmp_path / "heard"))
    assert [entry["delivery"] for entry in heard] == [str(index) for index in range(TRIES)]
    assert set(answers) == {200, 500, None}
    assert all(
        answer in (entry["status"], None) for answer, entry in zip(answers, heard, strict=True)
    )
    assert [entry["signed"] for entry in heard] == [False, *[True] * (TRIES - 1)]


@pytest.mark.soak
def test_a_mail_is_noted_before_it_is_taken_and_the_date_is_no_part_of_it(
    begin: Begin, tmp_path: Path
) -> None:
    port, _ = begin("mail_server", str(tmp_path / "heard"), "7")
    replies = [mail(port, str(index % 2)) for index in range(TRIES // 2)]
    heard = list(entries(tmp_path / "heard"))
    assert {(entry["delivery"], entry["digest"]) for entry in heard} == {
        (entry["delivery"], entry["digest"]) for entry in heard[:2]
    }
    assert {(took, entry["taken"]) for took, entry in zip(replies, heard, strict=True)} == {
        (True, True),
        (False, False),
        (False, True),
    }


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    """A server that a line leads to; each test speaks for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@pytest.fixture
def joined(
    begin: Begin, echo: socket.socket
) -> Iterator[tuple[Tree, socket.socket, socket.socket]]:
    """The line, its dyno's end and the server's."""
    port, process = begin("line", str(echo.getsockname()[1]))
    echo.accept()[0].close()  # from the knock that asked whether it listens
    with socket.create_connection(("127.0.0.1", port), timeout=10) as near, echo.accept()[0] as far:
        far.settimeout(10)
        yield process, near, far


def test_a_line_carries_both_ways_until_it_is_cut(
    joined: tuple[Tree, socket.socket, socket.socket],
) -> None:
    process, near, far = joined
    near.sendall(b"question")
    assert far.recv(64) == b"question"
    far.sendall(b"answer")
    assert near.recv(64) == b"answer"
    process.signal(signal.SIGUSR1)
    assert (ending(near), ending(far)) == (b"", b"")


def test_a_line_that_loses_answers_still_carries_what_was_asked(
    joined: tuple[Tree, socket.socket, socket.socket],
) -> None:
    process, near, far = joined
    process.signal(signal.SIGUSR2)
    near.sendall(b"COMMIT")
    assert far.recv(64) == b"COMMIT"
    far.sendall(b"done")
    assert ending(near) == b""


def test_a_line_hangs_up_when_the_server_does_not_answer(begin: Begin) -> None:
    port, _ = begin("line", str(free_port()))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as near:
        assert ending(near) == b""


def ending(end: socket.socket) -> bytes:
    """What still came before the end of the connection."""
    try:
        return end.recv(64)
    except ConnectionResetError:
        return b""
