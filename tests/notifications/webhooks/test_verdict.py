"""`manage.py webhooks`: what it finds in one that was really sent, and what a receiver does."""

import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from notifications.management.commands.webhooks import Command
from notifications.models import Delivery, Endpoint, Event, NotDelivered
from notifications.webhooks import post
from notifications.webhooks.listener import Listener
from tests.doubles.edges import WebhookSink
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
DATA = {"n": 1.5, "order": {"id": "a", "name": "鮭", "lines": [{"b": 1, "a": None, "long": {}}]}}


@pytest.fixture
def endpoint(sink: WebhookSink, settings: Any) -> Endpoint:
    settings.WEBHOOK_ALLOW_LOCAL = True
    return Endpoint.objects.create(owner=uuid4(), url=sink.url, events=["*"])


@pytest.fixture
def heard(endpoint: Endpoint, sink: WebhookSink) -> tuple[dict[str, str], bytes]:
    call(endpoint)
    return sink.heard[0]


def call(endpoint: Endpoint, id_: UUID | None = None) -> str:
    """A webhook of an event as Postgres gives it back."""
    event = Event.objects.create(kind="order.held", subject=uuid4(), seq=1, data=DATA)
    event.refresh_from_db()
    return post(Delivery(pk=id_ or uuid4(), event=event, endpoint=endpoint)).text


@pytest.fixture
def verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `verify` says of a request, and its exit code."""

    def run(headers: dict[str, str], body: bytes, *more: str) -> tuple[int, str]:
        head = "".join(f"{name.title()}: {value}\r\n" for name, value in headers.items())
        (tmp_path / "headers").write_text(f"POST /hooks HTTP/1.1\r\n{head}")
        (tmp_path / "body").write_bytes(body)
        files = ("--headers", str(tmp_path / "headers"), "--body", str(tmp_path / "body"))
        try:
            call_command("webhooks", "verify", *files, *more)
        except SystemExit as exc:
            return int(str(exc.code)), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_a_webhook_as_it_came_is_good_by_secret_and_key(
    verify: Any, heard: Any, endpoint: Endpoint
) -> None:
    assert verify(*heard, "--endpoint", str(endpoint.pk)) == (
        0,
        "The signature is good by the secret of version 1 and the public key of version 1.\n",
    )
    for own in (endpoint.secret, endpoint.keys[0].public):
        assert verify(*heard, "--secret", own)[0] == 0


def rewritten(body: bytes, **how: Any) -> bytes:
    return json.dumps(json.loads(body), **how).encode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (rewritten, "the same JSON in other bytes"),
        (lambda body: rewritten(body, indent=2, ensure_ascii=False), "the same JSON in other"),
        (lambda body: rewritten(body, sort_keys=True), "its keys in another order"),
        (lambda body: body + b"\n", "something was added at its end"),
        (lambda body: b"\xef\xbb\xbf" + body, "a byte order mark"),
        (lambda body: body.decode("latin-1").encode(), "UTF-8 was read as Latin-1"),
    ],
)
def test_a_body_that_was_written_anew_is_known_for_it(
    verify: Any, heard: Any, endpoint: Endpoint, change: Any, why: str
) -> None:
    headers, body = heard
    for own in (endpoint.secret, endpoint.keys[0].public):
        code, text = verify(headers, change(body), "--secret", own)
        assert (code, "The body was written anew: " in text, why in text) == (1, True, True), text
        assert "content-length says" in text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"webhook-id": ""}, "There is no webhook-id header.\n"),
        ({"webhook-timestamp": "soon"}, "webhook-timestamp is 'soon', not in whole seconds"),
        ({"webhook-id": "another"}, "The wrong secret, or something was changed: none of 2"),
        ({"webhook-signature": "v1,?"}, "'v1,?' in webhook-signature is not a kind"),
        ({"webhook-signature": "v2,AAAA"}, "Signatures of the other kind: there are v2"),
    ],
)
def test_a_header_that_is_wrong_is_named(
    verify: Any, heard: Any, endpoint: Endpoint, changes: Any, why: str
) -> None:
    code, text = verify({**heard[0], **changes}, heard[1], "--endpoint", str(endpoint.pk))
    assert (code, why in text) == (1, True), text


@pytest.mark.parametrize(("off_s", "how"), [(900, "behind"), (-900, "ahead of")])
def test_a_clock_that_is_off_is_told_beside_a_good_signature(
    verify: Any, heard: Any, endpoint: Endpoint, monkeypatch: Any, off_s: int, how: str
) -> None:
    then = int(heard[0]["webhook-timestamp"]) + off_s
    clock = SimpleNamespace(time=lambda: then)
    monkeypatch.setattr("notifications.management.commands.webhooks.time", clock)
    code, text = verify(*heard, "--endpoint", str(endpoint.pk))
    good, fault = text.splitlines()
    assert (code, good.startswith("The signature is good")) == (1, True)
    assert f"off by 900 s: the webhook-timestamp is {how}" in fault
    assert verify(*heard, "--endpoint", str(endpoint.pk), "--tolerance", "1000")[0] == 0


def test_a_secret_of_another_version_or_endpoint_is_told_apart(
    verify: Any, heard: Any, endpoint: Endpoint
) -> None:
    old = endpoint.secret
    endpoint.rotate(overlap=timedelta())
    code, text = verify(*heard, "--endpoint", str(endpoint.pk))
    assert (code, "signed by the secret of version 1, whose time is over" in text) == (1, True)
    of = ("--endpoint", str(endpoint.pk), "--secret")
    assert verify(*heard, *of, old)[0] == 0
    assert "The wrong secret or version: it is signed by" in verify(*heard, *of, endpoint.secret)[1]
    assert "none of 2 signatures is by" in verify(*heard, "--secret", endpoint.secret)[1]


def test_signatures_of_one_kind_are_not_good_for_the_other(
    verify: Any, heard: Any, endpoint: Endpoint
) -> None:
    headers, body = heard
    first, second = headers["webhook-signature"].split()
    _, text = verify({**headers, "webhook-signature": second}, body, "--secret", endpoint.secret)
    assert "there are v1a, which need a public key (whpk_…)" in text
    public = endpoint.keys[0].public
    _, text = verify({**headers, "webhook-signature": first}, body, "--secret", public)
    assert "there are v1, which need a secret (whsec_…)" in text


def test_a_whole_request_comes_from_stdin(
    heard: Any, endpoint: Endpoint, monkeypatch: Any, capsys: Any
) -> None:
    headers, body = heard
    head = "".join(f"{name}: {value}\n" for name, value in headers.items()).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(head + b"\n" + body)))
    call_command("webhooks", "verify", "--headers", "-", "--secret", endpoint.secret)
    assert capsys.readouterr().out.startswith("The signature is good")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["listen"], "Say what to verify with"),
        (["listen", "--secret", "x"], "--secret: a secret begins with whsec_"),
        (["listen", "--secret", "whpk_AAAA"], "--secret: a public key .* is 32 bytes long"),
        (["listen", "--endpoint", "x"], "--endpoint: there is none with the id 'x'"),
        (["listen", "--secret", "whsec_AAAA", "--port", "70000"], "from 0 to 65535"),
        (["listen", "--secret", "whsec_AAAA", "--hang", "--delay", "1"], "say one of them"),
        (["listen", "--secret", "whsec_AAAA", "--hang", "--status", "500"], "not allowed with"),
        (
            ["verify", "--secret", "whsec_AAAA", "--headers", "nowhere"],
            "--headers nowhere: No such",
        ),
        (["verify", "--secret", "whsec_AAAA", "--headers", "-", "--body", "-"], "Only one of"),
    ],
)
def test_what_cannot_be_understood_is_answered_by_a_sentence(
    arguments: list[str], why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("webhooks", *arguments)


# --- listen ---------------------------------------------------------------------------------------


@contextmanager
def listening(endpoint: Endpoint, monkeypatch: Any, *arguments: str) -> Iterator[list[str]]:
    """The lines that `listen` prints; the endpoint is called there."""
    lines: list[str] = []
    started: list[Listener] = []
    serve = Listener.serve_forever

    def serve_forever(self: Listener, poll_interval: float = 0.01) -> None:
        started.append(self)
        serve(self, poll_interval)

    monkeypatch.setattr(Listener, "serve_forever", serve_forever)
    monkeypatch.setattr(Command, "_tell", lambda self, text: lines.append(text))
    given = ("--secret", endpoint.secret, "--secret", endpoint.keys[0].public, "--port", "0")
    run = threading.Thread(target=call_command, args=("webhooks", "listen", *given, *arguments))
    run.start()
    until(lambda: bool(started), "it listens", within_s=10)
    endpoint.url = f"http://127.0.0.1:{started[0].server_address[1]}/hooks"
    try:
        yield lines
    finally:
        started[0].shutdown()
        run.join(timeout=10)
    assert not run.is_alive()


def test_it_tells_what_came_and_answers_each_other_one_with_500(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = uuid4()
    with listening(endpoint, monkeypatch, "--every", "2") as lines:
        assert call(endpoint, id_) == "answered 200"
        with pytest.raises(NotDelivered, match="answered 500"):
            call(endpoint, id_)
        assert call(endpoint) == "answered 200"
    assert lines[1] == f"1  {id_}: good by --secret 1 and --secret 2 → 200"
    assert '"name":"鮭"' in lines[2]
    assert lines[3] == f"2  {id_} (heard 2 times): good by --secret 1 and --secret 2 → 500"


def test_it_refuses_what_is_not_signed_as_it_should_and_says_why(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(endpoint, monkeypatch) as lines:
        endpoint.secret_version = 7
        with pytest.raises(NotDelivered, match="answered 401"):
            call(endpoint)
    assert lines[1].endswith(": NOT good → 401")
    assert lines[2].startswith("    The wrong secret, or something was changed")


def test_it_hangs_until_the_caller_gives_up(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.WEBHOOK_TIMEOUT_S = 0.3
    late = pytest.raises(NotDelivered, match=r"took longer than 0\.3 s")
    with listening(endpoint, monkeypatch, "--hang") as lines, late:
        call(endpoint)
    assert lines[1].endswith("→ no answer")
