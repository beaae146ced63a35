"""`python -m tests.bench.pressure.promiser`: small jobs are promised at a pace, whatever breaks.

It is told a line at a time: `pace JOBS_A_SECOND`, `burst JOBS_AT_ONCE`. When there is no other line
it says, as JSON, which numbers it has committed, as pairs of a first one and the one after the
last. Where the database broke while it committed, nobody knows; of those it asks the ledger.
"""

import json
import sys
import time
from queue import Empty, SimpleQueue
from threading import Thread

import django

django.setup()

from django.db import Error, connection, transaction  # noqa: E402

from celery_ledger import together  # noqa: E402
from tests.bench.peers.tasks import count_durably  # noqa: E402
from tests.waiting import until  # noqa: E402

PAUSE_S = 0.05  # between two transactions
REST_S = 0.2  # after one that failed
OWED_MAX_S = 1.0  # of what could not be promised; the rest is forgotten, as by customers who left
RETURN_LIMIT_S = 60  # of Postgres, in the end
NUMBERS = "SELECT (args -> 0 ->> 0)::int FROM celery_ledger_job WHERE task = %s"


class Promiser:
    def __init__(self) -> None:
        self.pace = 0.0
        self.owed = 0.0
        self.first = 0  # of those that were never tried
        self.committed: list[range] = []
        self.unsure: list[range] = []

    def run(self) -> None:
        """To the end of the input."""
        orders, seen = lines_of_the_input(), time.monotonic()
        while True:
            try:
                if not (order := orders.get(timeout=PAUSE_S)):
                    return
                self.hear(*order.split())
            except Empty:
                now = time.monotonic()
                self.owed = min(self.owed + self.pace * (now - seen), self.pace * OWED_MAX_S)
                seen = now
                self.promise(int(self.owed))
                self.owed -= int(self.owed)

    def hear(self, order: str, number: str) -> None:
        if order == "pace":
            self.pace = float(number)
        else:
            self.promise(int(number))

    def promise(self, number: int) -> None:
        """All of them in one transaction, or none; which of the two may stay unknown."""
        numbers = range(self.first, self.first + number)
        self.first = numbers.stop
        try:
            with together():
                for each in numbers:
                    count_durably.delay(each)
        except Error:
            connection.close()
            self.unsure.append(numbers)
            time.sleep(REST_S)
        else:
            self.committed.append(numbers)

    def found_out(self) -> list[range]:
        """What was committed, with those of the unsure ones that stand in the ledger."""
        if self.unsure:
            until(answers, "Postgres answers again", within_s=RETURN_LIMIT_S)
        ledger = in_the_ledger() if self.unsure else set()
        kept = [numbers for numbers in self.unsure if not ledger.isdisjoint(numbers)]
        assert all(ledger.issuperset(numbers) for numbers in kept), "half a transaction"
        return self.committed + kept


def lines_of_the_input() -> SimpleQueue[str]:
    """And an empty one at its end."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put("")

    Thread(target=read, daemon=True).start()
    return lines


def answers() -> bool:
    try:
        with transaction.atomic():
            return True
    except Error:
        connection.close()
        return False


def in_the_ledger() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(NUMBERS, [count_durably.name])
        return {number for (number,) in cursor.fetchall()}


if __name__ == "__main__":
    promiser = Promiser()
    promiser.run()
    print(json.dumps([(numbers.start, numbers.stop) for numbers in promiser.found_out()]))
