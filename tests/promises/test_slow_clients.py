"""Clients that never finish their request do not take the web dyno with them."""

import socket
from contextlib import ExitStack

import pytest
from django.conf import settings

from orders.clients import ApiKey, Client
from tests.promises.processes import Stack, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
HALF_A_HEADER = "GET /livez HTTP/1.1\r\nHost: x"
HALF_A_BODY = "POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1000\r\n\r\n{{"


@pytest.mark.parametrize("request_text", [HALF_A_HEADER, HALF_A_BODY])
def test_requests_that_never_end_cost_the_web_dyno_some_seconds_and_no_more(
    stack: Stack, shop: Client, request_text: str
) -> None:
    web = stack.start_web()
    text = request_text.format(key=ApiKey.objects.issue(shop, []))
    with ExitStack() as held:
        for _ in range(settings.WEB_THREADS):
            client = held.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=5))
            client.sendall(text.encode())
        until(web.lives, "the web dyno answers again", within_s=40)
