"""Connections to the mail server that serve many mails."""

import os
import smtplib
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from django.conf import settings

from notifications.webhooks.deadline import Deadline

OK = 250
Server = tuple[Any, ...]  # what tells mail servers and log-ins to them apart


class Kept(NamedTuple):
    """An open connection that nobody uses."""

    connection: smtplib.SMTP
    server: Server
    since: float
    mails: int  # that it has taken


class Idle:
    """The open connections of this process that nobody uses: a mail that finds one needs no
    greeting, no TLS and no log-in.
    """

    def __init__(self) -> None:
        self._kept: list[Kept] = []
        self._lock = Lock()

    def take(self, server: Server, deadline: Deadline) -> Kept | None:
        """The connection to this server that was used last, cut by `deadline` from now on. None,
        and all others to the server are closed, if it is too old or is not answered any more.
        """
        if (kept := self._last(server)) is None:
            return None
        if kept.connection.sock:
            deadline.cuts(kept.connection.sock)
        is_fresh = monotonic() - kept.since < settings.MAIL_CONNECTION_IDLE_MAX_S
        if is_fresh and _is_answered(kept.connection):
            return kept
        kept.connection.close()
        self.close(server)
        return None

    def keep(self, kept: Kept) -> None:
        """Keep it for the next mail; of more than MAIL_CONNECTIONS_IDLE_MAX, the one that was used
        longest ago is closed.
        """
        with self._lock:
            self._kept.append(kept)
            is_full = len(self._kept) > settings.MAIL_CONNECTIONS_IDLE_MAX
            oldest = self._kept.pop(0) if is_full else None
        if oldest:
            oldest.connection.close()

    def forget(self) -> None:
        """Let go of all, in a process that was just forked: its parent goes on with them."""
        kept, self._kept, self._lock = self._kept, [], Lock()
        for each in kept:
            each.connection.close()

    def close(self, server: Server | None = None) -> None:
        """Close those to this server, or all."""
        with self._lock:
            closing = [kept for kept in self._kept if server in (None, kept.server)]
            self._kept = [kept for kept in self._kept if kept not in closing]
        for kept in closing:
            kept.connection.close()

    def _last(self, server: Server) -> Kept | None:
        with self._lock:
            kept = next((each for each in reversed(self._kept) if each.server == server), None)
            if kept:
                self._kept.remove(kept)
            return kept


def _is_answered(connection: smtplib.SMTP) -> bool:
    try:
        return connection.noop()[0] == OK
    except smtplib.SMTPServerDisconnected:
        return False


idle = Idle()
os.register_at_fork(after_in_child=idle.forget)
