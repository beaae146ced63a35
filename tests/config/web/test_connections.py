"""How long a body is waited for: by its bytes, and never longer than the head without one."""

import time
from unittest.mock import Mock

import pytest
from django.conf import settings

from config.web.gathering import Connection


@pytest.mark.parametrize(
    ("sent_s", "pause_s", "left_s"),
    [
        (0, 0, 1),  # as much as it may be late
        (60, 0, 1),  # whoever is ahead of the pace does not get more
        (20, 20, 1),
        (5, 20, -0.5),  # 5 s worth of bytes in 20 s
    ],
)
def test_a_body_has_the_time_that_its_bytes_need(
    monkeypatch: pytest.MonkeyPatch, sent_s: float, pause_s: float, left_s: float
) -> None:
    """`left_s` in units of WEB_READ_LIMIT_S."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    body = Connection.__new__(Connection)
    body.sock = Mock()
    body.begin()
    body.head = bytearray(b"POST /v1/orders HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
    body.missing = 10**9
    body._expect_body(body.missing)
    now += pause_s
    body.gather(b"x" * int(sent_s * settings.WEB_READ_MIN_BYTES_S))
    assert body.until == pytest.approx(now + left_s * settings.WEB_READ_LIMIT_S)
    body.let_go()
