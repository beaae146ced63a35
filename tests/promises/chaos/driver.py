"""The run itself, on servers that `__main__` has started for it."""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from celery import chord
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from redis import Redis

from celery_ledger.models import Job
from notifications.models import Endpoint
from orders.models import ApiKey, Client, Order, Return, Stock
from orders.payments.models import PaymentOperation
from tests.promises.chaos.faults.faults import Faults
from tests.promises.chaos.outside.journal import entries
from tests.promises.chaos.people.crowd import Crowd
from tests.promises.chaos.people.customers import Customer
from tests.promises.chaos.people.exports import exports_read
from tests.promises.chaos.proof.auditor import violations
from tests.promises.chaos.proof.evidence import (
    Evidence,
    mails_heard,
    provider_book,
    provider_refunds,
    webhooks_heard,
)
from tests.promises.chaos.proof.witness import Witness
from tests.promises.chaos.tasks import PLACES, TABLE, tally, tally_in_line
from tests.promises.chaos.world import World
from tests.waiting import until

CUSTOMERS = 3
PAUSE_S = 0.2  # between faults
STANDSTILL_MAX_S = 2.0
# times the seconds that were asked for, until the faults that were asked for are given up
OVERTIME = 5
RETURN_LIMIT_S = 60  # of servers, when the faults are over
REST_LIMIT_S = 900
REST_STANDSTILL_MAX_S = 120  # longer than any lease
BACKLOG_MAX = 200  # jobs; customers wait while more are due


@dataclass
class Report:
    seed: int
    seconds: int
    faults: dict[str, int]
    orders: int
    refunds: int
    returns: int
    verbs: dict[str, int]
    jobs: int
    lost: int  # jobs that were lost once or more
    dead: int
    webhooks: int
    mails: int
    ended: int  # workers that ended as Celery is known to
    oldest_transaction_s: float
    lines_seen: int  # looks at which somebody stood in line for a place
    longest_in_line_s: float  # beside a free one
    violations: dict[str, list[Any]]

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {times}" for name, times in sorted(self.faults.items()))
        broken = "".join(f"\n  {name}: {rows}" for name, rows in self.violations.items())
        return (
            f"seed {self.seed}, {self.seconds} s: {sum(self.faults.values())} faults ({kinds})\n"
            f"{self.orders} orders, {self.refunds} refunds, {self.returns} returns, "
            f"{', '.join(f'{number} {verb}' for verb, number in self.verbs.items())}, "
            f"{self.jobs} jobs ({self.lost} lost once or more, "
            f"{self.dead} dead), {self.webhooks} webhooks and {self.mails} mails heard, "
            f"{self.ended} workers ended as Celery is known to, "
            f"oldest transaction {self.oldest_transaction_s:.0f} s, "
            f"in line at {self.lines_seen} looks, "
            f"beside a free place for {self.longest_in_line_s:.1f} s\n"
            f"violations: {broken or 'none'}"
        )


class Run:
    def __init__(self, folder: Path, *, seconds: int, faults: int, seed: int) -> None:
        self.seconds, self.faults_min, self.seed, self.dice = seconds, faults, seed, Random(seed)
        self.world = World(folder, seed=seed)
        self.broker = Redis.from_url(
            settings.BROKER_URL, socket_timeout=1, socket_connect_timeout=1
        )
        self.faults = Faults(self.world, self.dice, self.broker)
        self.witness = Witness(settings.DATABASE_URL)
        self.lasted_s = 0
        self.promised: list[tuple[int, int, bool]] = []
        self.numbers = count()

    def open(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(TABLE)
        Stock.objects.set_on_hand("SAKE-NIGIRI", 10**9, name="鮭")
        shop = Client.objects.create(name="shop")
        endpoint = Endpoint.objects.create(owner=shop.pk, url=self.world.webhook_url, events=["*"])
        self.key = key = ApiKey.objects.issue(shop, [])
        self.web = web = self.world.open(endpoint.secret)
        self.crowd = Crowd(
            [
                Customer(
                    web, key, name=f"c{index}", seed=self.seed + index, is_busy=lambda: self.is_busy
                )
                for index in range(CUSTOMERS)
            ]
        )

    @property
    def is_busy(self) -> bool:
        return self.witness.backlog > BACKLOG_MAX

    def break_everything(self) -> None:
        self.witness.start()
        self.crowd.come()
        began = time.monotonic()
        while (lasted := time.monotonic() - began) < self.seconds or (
            self.faults.injected.total() < self.faults_min and lasted < self.seconds * OVERTIME
        ):
            if not self.is_busy:
                self.promise()
            self.faults.inject()
            self.wake_endpoints()
            self.let_work()
        self.lasted_s = round(time.monotonic() - began)
        self.crowd.go_home()
        self.faults.end()
        self.witness.watch_the_idle()
        until(
            lambda: despite_trouble(Job.objects.exists),
            "Postgres answers again",
            within_s=RETURN_LIMIT_S,
        )
        until(self.web_is_ready, "the web dyno is ready again", within_s=RETURN_LIMIT_S)

    def let_work(self) -> None:
        """A pause between faults. Where a machine is so slow that nothing was finished since, a
        longer one.
        """
        finished, began = self.witness.progress, time.monotonic()
        time.sleep(PAUSE_S)
        while self.witness.progress == finished and time.monotonic() - began < STANDSTILL_MAX_S:
            time.sleep(PAUSE_S / 2)

    def web_is_ready(self) -> bool:
        try:
            return self.web.ask("GET", "/readyz")[0] == 200
        except (OSError, HTTPException):
            return False

    def promise(self) -> None:
        """A tally or two, three of which only two run at once, or a chord of four that are promised
        together; unsure when the database broke meanwhile.
        """
        company = [next(self.numbers) for _ in range(self.dice.choice((1, 1, 2, 3, 4)))]
        certain = despite_trouble(lambda: promise(company))
        self.promised += [(number, company[0], certain) for number in company]

    def wake_endpoints(self) -> None:
        """About once a second: an endpoint that fails so often would rest most of the time."""
        if self.dice.random() < PAUSE_S:
            despite_trouble(lambda: Endpoint.objects.update(failures=0, resting_until=None))

    def come_to_rest(self) -> None:
        """What waits is due now, endpoints are awake, and a charge whose call never came was sent
        long ago: nobody sleeps through a back-off. Bounded.
        """
        unfinished = Job.objects.filter(state__in=("waiting", "running"))
        began = moved = time.monotonic()
        progress = self.witness.progress
        while unfinished.exists() and (now := time.monotonic()) < min(
            began + REST_LIMIT_S, moved + REST_STANDSTILL_MAX_S
        ):
            if self.witness.progress != progress:
                progress, moved = self.witness.progress, now
            self.world.look_after()
            Endpoint.objects.update(failures=0, resting_until=None)
            unfinished.filter(state="waiting", due_at__gt=Now()).update(due_at=Now(), ring_at=Now())
            if not unfinished.filter(state="running").exists():  # whoever has sent it has ended
                PaymentOperation.objects.filter(state="sent").update(
                    created_at=Now() - settings.PAYMENT_MOOT_AFTER
                )
            time.sleep(0.5)

    def audited(self) -> Report:
        unanswered = self.crowd.insist()
        self.come_to_rest()
        unanswered += self.crowd.insist_at_rest()
        self.come_to_rest()
        exported = exports_read(self.web, self.key, come_to_rest=self.come_to_rest)
        self.witness.stop()
        evidence = {**self.evidence(unanswered), "exported": exported}
        with connection.cursor() as cursor:
            # for this session only
            cursor.execute("SET statement_timeout = 0; SET transaction_timeout = 0")
        return Report(
            self.seed,
            self.lasted_s,
            dict(self.faults.injected),
            Order.objects.count(),
            len(evidence["provider_refund"]),
            Return.objects.count(),
            self.crowd.verbs,
            Job.objects.count(),
            Job.objects.filter(Q(losses__gt=0) | Q(shared_losses__gt=0)).count(),
            Job.objects.filter(state="dead").count(),
            len(evidence["heard_webhook"]),
            len(evidence["heard_mail"]),
            self.world.known_ends,
            self.witness.oldest_s,
            self.witness.lines_seen,
            self.witness.longest_in_line_s,
            violations(evidence),
        )

    def evidence(self, unanswered: list[str]) -> Evidence:
        return {
            "heard_webhook": webhooks_heard(self.world.journal("webhook-server")),
            "heard_mail": mails_heard(self.world.journal("mail-server")),
            "provider_charge": provider_book(self.world.journal("provider")),
            "provider_refund": provider_refunds(self.world.journal("provider")),
            "asked": list(self.crowd.asked),
            "told": list(self.crowd.answers),
            "told_of_regret": list(self.crowd.told_of_regrets),
            "withdrew_from_one": self.crowd.withdrew_from_one,
            "forgotten": self.crowd.forgotten,
            "promised": list(self.promised),
            "seen_job": list(self.witness.finished.items()),
            "stood_in_line": list(self.witness.stood_in_line),
            "crowded": list(self.witness.crowded),
            "left_alone": list(self.witness.left_alone),
            "old_transaction": list(self.witness.old_transactions),
            "socket_in_transaction": [
                (entry["to"],) for entry in entries(self.world.journal("sockets"))
            ],
            "ended_by_itself": list(self.world.ended_by_themselves),
            "unanswered": [(key,) for key in unanswered],
        }


def despite_trouble(act: Callable[[], object]) -> bool:
    """In one transaction. False when the database broke, and nobody knows whether it committed."""
    try:
        with transaction.atomic():
            act()
    except (DatabaseError, InterfaceError):
        connection.close()
        return False
    return True


def promise(company: list[int]) -> None:
    if len(company) < 4:
        task = tally_in_line if len(company) > PLACES else tally
        for number in company:
            task.delay(number)
    else:
        *header, body = company
        chord([tally.si(number) for number in header])(tally.si(body))


@contextmanager
def running(run: Run) -> Iterator[None]:
    """Its processes end with it, whatever happens."""
    try:
        run.open()
        yield
    finally:
        run.world.close()


def main() -> int:
    arguments = argparse.ArgumentParser()
    for name in ("seconds", "faults", "seed"):
        arguments.add_argument(f"--{name}", type=int, required=True)
    arguments.add_argument("--report", type=Path)
    asked = arguments.parse_args()
    run = Run(
        Path(os.environ["CHAOS_FOLDER"]),
        seconds=asked.seconds,
        faults=asked.faults,
        seed=asked.seed,
    )
    with running(run):
        run.break_everything()
        report = run.audited()
        if report.violations:
            print(run.world.last_words())
    print(report)
    if asked.report:
        asked.report.write_text(json.dumps(asdict(report), default=str))
    return 1 if report.violations else 0
