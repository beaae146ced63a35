"""Webhooks a second from one default worker to a fast receiver, with the processors' time of each,
and what it costs when every fifth first try is answered 500, as a ratio in one run.

`bin/bench -k webhooks`. The receiver is another process, with one thread for all connections. The
clock runs from the commit that promises them.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.db import transaction

from notifications import events
from notifications.models import Attempt, Delivery, Endpoint
from orders.models import Client
from tests.bench import cpu
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
MANY, FEW, ROUNDS = 1500, 40, 5
DEPLOYED = {
    "DEBUG": "",
    "SECRET_KEY": "k" * 50,
    "DJANGO_SETTINGS_MODULE": "tests.bench.shop.deployed",
}
RECEIVER = """
import asyncio, sys
every, seen = int(sys.argv[1]), set()

async def hear(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            names = dict(line.split(b": ", 1) for line in head.lower().split(b"\\r\\n")[1:-2])
            await reader.readexactly(int(names[b"content-length"]))
            name = names[b"webhook-id"]
            fails = every and name not in seen and len(seen) % every == 0
            seen.add(name)
            status = 500 if fails else 200
            writer.write(b"HTTP/1.1 %d X\\r\\ncontent-length: 0\\r\\n\\r\\n" % status)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def receiver(every: int) -> Iterator[str]:
    """The URL of one that answers 500 to the first try of each so-manieth webhook; 0: of none."""
    with subprocess.Popen(
        [sys.executable, "-c", RECEIVER, str(every)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.terminate()


def seconds_to_deliver(shop: Client, url: str, number: int) -> float:
    """Seconds until so many events have reached this endpoint, which has heard of one before."""
    endpoint = Endpoint.objects.create(owner=shop.pk, url=url, events=["*"])
    for count in (1, number):
        with transaction.atomic():
            for _ in range(count):
                events.record("order.held", subject=uuid4(), seq=1, owner=shop.pk, data={})
        began = time.perf_counter()
        left = Delivery.objects.filter(endpoint=endpoint).exclude(state="delivered")
        until(lambda: not left.exists(), "all have arrived", within_s=120)  # noqa: B023 - at once
    Endpoint.objects.filter(pk=endpoint.pk).update(active=False)
    return time.perf_counter() - began


def test_webhooks_a_second_and_beside_a_flaky_receiver(stack: Stack, shop: Client) -> None:
    worker = stack.start("worker", **DEPLOYED).process.pid
    with receiver(0) as healthy, receiver(5) as flaky:
        seconds_to_deliver(shop, healthy, FEW)  # the worker is up
        many = list[str]()
        for _ in range(3):
            before = cpu.of_tree(worker), cpu.of_postgres()
            seconds = seconds_to_deliver(shop, healthy, MANY)
            used = cpu.of_tree(worker) - before[0], cpu.of_postgres() - before[1]
            each = [f"{1000 * each / MANY:.1f}" for each in used]
            many.append(f"{MANY / seconds:.0f} a second (CPU ms each, worker, Postgres: {each})")
        taken: dict[str, list[float]] = {"healthy": [], "flaky": []}
        for _ in range(ROUNDS):
            taken["healthy"].append(seconds_to_deliver(shop, healthy, FEW))
            taken["flaky"].append(seconds_to_deliver(shop, flaky, FEW))
    firsts = ROUNDS * (1 + FEW)  # of the flaky one's, and every fifth of them failed
    assert Attempt.objects.filter(ok=False).count() == -(-firsts // 5)
    assert not Delivery.objects.exclude(state="delivered").exists()
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(
        f"\n{MANY} webhooks: {'; '.join(many)}; {FEW} to a receiver that "
        f"fails a fifth of first tries: × {medians['flaky'] / medians['healthy']:.2f} of a healthy "
        f"one's {medians['healthy']:.2f} s: {taken}"
    )
