"""A connection to an endpoint's server, and those of this process that wait for the next call.

Its address was looked up and judged before it was opened, and it knows no way to open itself anew:
whoever takes it again talks to that same address, port and name of TLS.
"""

import functools
import os
import socket
import ssl
import threading
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from urllib3.util import wait_for_read

from notifications.webhooks.address import public_address
from notifications.webhooks.deadline import Deadline


class Place(NamedTuple):
    """What a connection is for. Endpoints share none: what one answers is never taken for
    another's.
    """

    endpoint: str
    scheme: str
    host: str
    port: int


class BrokenOff(HTTPException):
    """The connection ended within an answer."""


class _Answer(HTTPResponse):
    def begin(self) -> None:
        """Raises ConnectionError only while nothing of it was read."""
        if not self.fp.peek(1):
            raise RemoteDisconnected("Remote end closed connection without response")
        try:
            super().begin()
        except ConnectionError as exc:
            raise BrokenOff("the answer broke off") from exc


class Connection(HTTPConnection):
    """An open connection, which never opens itself anew."""

    response_class = _Answer
    auto_open = 0  # which would look the name up, and judge nothing

    def __init__(self, place: Place, wire: socket.socket) -> None:
        super().__init__(place.host, place.port)
        self.sock = wire
        self.place = place
        self.opened_at = self.idle_since = monotonic()

    @property
    def is_fresh(self) -> bool:
        """Whether it is young enough, and was used lately enough, to be used again."""
        is_young = monotonic() - self.opened_at < settings.WEBHOOK_CONNECTION_AGE_MAX_S
        return is_young and monotonic() - self.idle_since < settings.WEBHOOK_CONNECTION_IDLE_MAX_S

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came after the last answer: no end, and nothing that the next call would
        take for its own answer.
        """
        return not wait_for_read(self.sock, timeout=0)


def open_connection(place: Place, deadline: Deadline) -> Connection:
    """Connect to an address of its name that may be called. Raises NotDelivered, OSError."""
    address = public_address(place.host, place.port, deadline)
    wire = socket.create_connection((address, place.port), timeout=deadline.left_s)
    try:
        deadline.cuts(wire)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if place.scheme == "https":
            wire = tls().wrap_socket(wire, server_hostname=place.host)
    except BaseException:
        wire.close()
        raise
    return Connection(place, wire)


@functools.cache
def tls() -> ssl.SSLContext:
    """One context for all calls: to read the authorities takes longer than a call."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Idle:
    """The open connections of this process that wait for the next call."""

    def __init__(self) -> None:
        self._kept: list[Connection] = []
        self._begin()

    def take(self, place: Place, deadline: Deadline) -> Connection | None:
        """The connection to this place that was used last and is still good, cut by `deadline` from
        now on; None without one. Those that are not good any more are closed.
        """
        while (connection := self._last(place)) is not None:
            if connection.is_fresh and connection.is_quiet:
                deadline.cuts(connection.sock)
                connection.sock.settimeout(deadline.left_s)
                return connection
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        """Keep it for the next call to its place, for WEBHOOK_CONNECTION_IDLE_MAX_S; of more than
        WEBHOOK_CONNECTIONS_IDLE_PER_ENDPOINT, or WEBHOOK_CONNECTIONS_IDLE_MAX in all, the one that
        was used longest ago is closed.
        """
        connection.idle_since = monotonic()
        with self._lock:
            self._kept.append(connection)
            there = [one for one in self._kept if one.place == connection.place]
            surplus = there[: -settings.WEBHOOK_CONNECTIONS_IDLE_PER_ENDPOINT]
            surplus = surplus or self._kept[: -settings.WEBHOOK_CONNECTIONS_IDLE_MAX]
            self._drop(surplus)
            if not self._is_on:
                self._look_later()

    def close(self) -> None:
        with self._lock:
            self._drop([*self._kept])

    def forget(self) -> None:
        """Let go of all, in a process that was just forked: its parent goes on with them, since to
        close them here ends nothing there.
        """
        kept, self._kept = self._kept, []
        self._begin()
        for connection in kept:
            connection.close()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._is_on = False  # a timer is set that closes those whose time is over

    def _last(self, place: Place) -> Connection | None:
        with self._lock:
            found = next((one for one in reversed(self._kept) if one.place == place), None)
            if found is not None:
                self._kept.remove(found)
            return found

    def _drop(self, connections: list[Connection]) -> None:
        for connection in connections:
            self._kept.remove(connection)
            connection.close()

    def _look_later(self) -> None:
        timer = threading.Timer(settings.WEBHOOK_CONNECTION_IDLE_MAX_S, self._look)
        timer.daemon = self._is_on = True
        timer.start()

    def _look(self) -> None:
        with self._lock:
            self._drop([one for one in self._kept if not one.is_fresh])
            self._is_on = False
            if self._kept:
                self._look_later()


idle = Idle()
os.register_at_fork(after_in_child=idle.forget)
