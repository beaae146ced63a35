"""Django's SMTP, with the addresses of the envelope as `values.addresses` writes them, over
connections that are kept, and with one deadline for all of a call: name, connection, handshake,
login and mails together.
"""

import smtplib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, mailers
from django.core.mail.backends import smtp

from celery_ledger import outside, scrubbed
from notifications.mail.idle import Kept, idle
from notifications.webhooks.deadline import Deadline
from values.addresses import mailable


class _Ending(smtplib.SMTP):
    """A connection that is cut when the deadline of its call is over."""

    deadline: Deadline

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Connect to the first of the name's addresses that answers. Raises OSError."""
        failure: OSError | None = None
        for address in self.deadline.addresses_of(host, port):
            try:
                left_s = min(timeout, self.deadline.left_s)
                wire = socket.create_connection((address, port), left_s)
            except OSError as exc:
                failure = exc
                continue
            wire.settimeout(timeout)
            self.deadline.cuts(wire)
            return wire
        raise failure or OSError(f"{host} has no address")


class _EndingTls(smtplib.SMTP_SSL, _Ending):
    pass


class EmailBackend(smtp.EmailBackend):
    _deadline: Deadline

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """The class of smtplib's connections that Django opens, bound to the deadline of this
        call.
        """
        kind: type[smtplib.SMTP] = _EndingTls if self.use_ssl else _Ending
        return type(kind.__name__, (kind,), {"deadline": self._deadline})

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send them over one connection, a kept one if there is any, and keep it afterwards, unless
        something went wrong on it. Raises OSError, smtplib.SMTPException and ValueError.
        """
        with self._in_time():
            connection, mails = self._connected()
            try:
                mails += super().send_messages(email_messages)
            except BaseException:
                connection.close()
                raise
            if mails < settings.MAILS_PER_CONNECTION_MAX:
                idle.keep(Kept(connection, self._server, monotonic(), mails))
            else:
                self.close()
            return len(email_messages)

    def try_out(self) -> None:
        """Connect, TLS, login and NOOP, and no mail. Raises as `send_messages`."""
        with self._in_time():
            try:
                if self.open() and self.connection:
                    self.connection.noop()
            finally:
                self.close()

    def prep_address(self, address: str, force_ascii: bool = True) -> Any:
        """The address for the envelope. Django's own leaves out the quotes that
        `"da..me"@docomo.ne.jp` needs. Raises ValueError.
        """
        return mailable(super().prep_address(address, force_ascii))

    @property
    def _server(self) -> tuple[Any, ...]:
        return (self.host, self.port, self.username, self.password, self.use_tls, self.use_ssl)

    def _connected(self) -> tuple[Any, int]:
        """An open connection, and how many mails it has taken. Raises as `send_messages`."""
        kept = idle.take(self._server, self._deadline)
        self.connection = kept.connection if kept else None
        try:
            self.open()
        except BaseException:
            self.close()  # what was greeted, and then had a wrong certificate or password
            raise
        return self.connection, kept.mails if kept else 0

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        with Deadline(settings.MAIL_DEADLINE_S) as self._deadline:
            try:
                yield
            except (OSError, smtplib.SMTPException) as exc:
                if self._deadline.is_over:
                    raise TimeoutError(f"took longer than {settings.MAIL_DEADLINE_S:g} s") from exc
                raise


def has_mail_server() -> bool:
    """Whether mails leave this machine."""
    return isinstance(mailers["default"], EmailBackend)


def mail_server_trouble() -> str | None:
    """Why the mail server would take no mail now; None when it would. Opens a socket."""
    mailer = mailers["default"]
    try:
        with outside():
            if isinstance(mailer, EmailBackend):
                mailer.try_out()
    except (OSError, smtplib.SMTPException) as exc:
        return scrubbed(f"{type(exc).__name__}: {exc}")
    return None
