"""The outside world's edge, speaking its protocol: an HTTP server that hears webhooks, and a mail
server.
"""

import ssl
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from notifications.mail.idle import idle
from tests.machine.ports import free_port


class WebhookSink:
    """Answers with the statuses it is told to, then 200, and remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.answers_after_s = 0.0
        self.headers: dict[str, str] = {}  # of each answer
        self.body = b""
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.heard.append(
                    ({name.lower(): value for name, value in self.headers.items()}, body)
                )
                time.sleep(sink.answers_after_s)
                status = sink.answers.pop(0) if sink.answers else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{sink.url}elsewhere")
                for name, value in sink.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sink.body)))
                self.end_headers()
                self.wfile.write(sink.body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks?shop=1"

    def __enter__(self) -> "WebhookSink":
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)


class MailServer(SMTP):
    """Hears whom a mail is for as it came over the wire."""

    async def smtp_RCPT(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self.event_handler.recipients.append(arg)
        await super().smtp_RCPT(arg)

    def connection_made(self, transport: Any) -> None:
        """Twice for a connection that changes to TLS."""
        self.event_handler.connections += 1
        self.event_handler.transports.append(transport)
        super().connection_made(transport)


class Reception(Controller):
    def factory(self) -> SMTP:
        return MailServer(self.handler, **self.SMTP_kwargs)

    def stop(self, no_assert: bool = False) -> None:
        """Without waiting half a minute for those who left without TLS's goodbye."""
        for transport in self.handler.transports:
            self.loop.call_soon_threadsafe(transport.abort)
        super().stop(no_assert)


class Postbox:
    """An SMTP handler that keeps the mails, or refuses as often as it is told to; with a
    certificate it takes none without TLS, and with a login none without that.
    """

    def __init__(
        self, *, certificate: Path | None = None, login: tuple[str, str] | None = None
    ) -> None:
        self.connections = 0
        self.transports: list[Any] = []
        self.options: dict[str, Any] = {}
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.options |= {"tls_context": context, "require_starttls": True}
        if login:
            expected = LoginPassword(*(part.encode() for part in login))
            self.options |= {
                "auth_required": True,
                "auth_require_tls": bool(certificate),
                "authenticator": lambda *arguments: AuthResult(
                    success=arguments[-1] == expected, handled=False
                ),
            }
        self.mails: list[bytes] = []
        self.recipients: list[str] = []
        self.refusals = 0
        self.refused: dict[str, str] = {}  # addresses, and the answer to each

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusals:
            self.refusals -= 1
            return "451 later, please"
        self.mails.append(envelope.original_content)
        return "250 OK"

    def __enter__(self) -> "Postbox":
        self.port = free_port()
        self.server = Reception(self, hostname="127.0.0.1", port=self.port, **self.options)
        self.server.start()
        self.connections = 0  # without the one that looked whether it listens
        return self

    def __exit__(self, *exc: object) -> None:
        idle.close()
        self.server.stop()


def read(raw: bytes) -> tuple[EmailMessage, str, str]:
    """A mail as it came over the wire, its text and its HTML."""
    mail = message_from_bytes(raw, policy=policy.default)
    forms = [mail.get_body((form,)) for form in ("plain", "html")]
    text, html = (str(form.get_content()) if form else "" for form in forms)
    return mail, text.replace("\r\n", "\n"), html
