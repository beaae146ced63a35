"""One worker of two processes and one who promises, on a Postgres and a broker that nobody else
uses: they may be killed.
"""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, LiteralString, NamedTuple
from urllib.parse import urlencode

import psycopg

from config.embedded import adopt, leave, servers
from tests.bench import cpu
from tests.promises.chaos.places import Place
from tests.promises.chaos.world import KNOWN_ENDS
from tests.promises.processes import Stack, Tree
from tests.rooms import CHECKOUT
from tests.waiting import until

TABLE: LiteralString = "celery_ledger_job"
TASKS = "tests.bench.peers.tasks"
TASK = f"{TASKS}.count_durably"
WORKER = "worker"  # the name that it gives to Postgres
LOOK_S = 0.2  # how often somebody looks after the worker
START_LIMIT_S, WORK_LIMIT_S, END_LIMIT_S = 60, 600, 90
AS_ON_A_DYNO = {
    "DEBUG": "0",
    "SECRET_KEY": token_hex(),
    "ALLOWED_HOSTS": "localhost",
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "PYTHONUNBUFFERED": "1",
}
UNLIMITED: LiteralString = """
SET statement_timeout = 0; SET transaction_timeout = 0;
SET idle_in_transaction_session_timeout = 0"""
PROMISED: LiteralString = f"SELECT count(*) FROM {TABLE} WHERE task = %s"
UNFINISHED: LiteralString = f"""
SELECT count(*) FROM {TABLE} WHERE task = %s AND finished_at IS NULL"""


class Moment(NamedTuple):
    unix_s: float
    cpu_s: float  # that the worker and Postgres have had


class Belt:
    able_per_s: float  # jobs that it can do
    steady_per_s: float  # jobs that are promised

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        urls: dict[str, str] = {}
        adopt(urls, checkout=folder)
        self.postgres, _ = servers(folder)
        self.stack = Stack({**urls, **AS_ON_A_DYNO}, folder)
        self.stack.run("manage.py", "release", "-v0")
        self._ask("CREATE TABLE tally (number int)")
        self.ended = 0  # by itself, as Celery is known to

    def close(self) -> None:
        self.stack.stop()
        leave(self.folder)
        shutil.rmtree(self.folder / ".local")  # the logs stay

    @contextmanager
    def running(self) -> Iterator[None]:
        """Empty, with a worker that is ready, and a promiser who has been told nothing yet."""
        self._ask(f"TRUNCATE tally, {TABLE}")
        self.ended = 0
        self.worker = Place(WORKER, self._start_worker)
        self.promiser = self._start_promiser()
        try:
            self.wait_for_worker()
            yield
        finally:
            self.promiser.kill()
            self.promiser.communicate()
            self.worker.kill()

    def tell(self, order: str, number: float) -> None:
        """The promiser: `pace` a second, or a `burst` at once."""
        assert self.promiser.stdin
        self.promiser.stdin.write(f"{order} {number:.0f}\n")
        self.promiser.stdin.flush()

    def committed(self) -> Counter[int]:
        """The promiser stops, and says what it has promised."""
        output, _ = self.promiser.communicate(timeout=END_LIMIT_S)
        assert self.promiser.returncode == 0, self.promiser_log.read_text()
        return Counter(number for pair in json.loads(output) for number in range(*pair))

    def done(self) -> Counter[int]:
        return Counter(number for (number,) in self._ask("SELECT number FROM tally"))

    def wait_for_jobs(self, number: int) -> None:
        """Until so many are promised."""
        until(
            lambda: self.figures(PROMISED, TASK) == (number,),
            "they are promised",
            within_s=START_LIMIT_S,
        )

    def drain(self) -> None:
        """Wait until every job has ended."""
        until(self._has_drained, "every job has ended", within_s=WORK_LIMIT_S)

    def moment(self) -> Moment:
        trees = (self.worker.tree.process.pid, self.postgres.pid or 0)
        return Moment(time.time(), sum(map(cpu.of_tree_and_its_dead, trees)))

    def rest(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.look_after()
            time.sleep(min(left, LOOK_S))

    def look_after(self) -> None:
        """A worker that has ended by itself is started again, as a platform does."""
        if not self.worker.is_up and not self.worker.is_sentenced:
            output = self.worker.tree.output()
            assert any(words in output for words in KNOWN_ENDS), f"it ended: {output[-3000:]}"
            self.ended += 1
            self.worker.start_again()

    def wait_for_worker(self) -> None:
        tree = self.worker.tree
        until(lambda: "ready." in tree.output(), "the worker is ready", within_s=START_LIMIT_S)

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """One more, whom no limit of the role ends."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(UNLIMITED)
            yield connection

    def figures(self, statement: LiteralString, *values: Any) -> tuple[Any, ...]:
        [row] = self._ask(statement, *values)
        return row

    def _ask(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        with self.session() as session:
            cursor = session.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def _has_drained(self) -> bool:
        self.look_after()
        return self.figures(UNFINISHED, TASK) == (0,)

    def _start_worker(self) -> Tree:
        url = f"{self.postgres.url}?{urlencode({'application_name': WORKER})}"
        options = ("--concurrency", "2", "--include", TASKS)
        return self.stack.start("worker", *options, DATABASE_URL=url)

    def _start_promiser(self) -> subprocess.Popen[str]:
        self.promiser_log = self.folder / "promiser.log"
        with self.promiser_log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.bench.pressure.promiser"],
                cwd=CHECKOUT,
                env=self.stack.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
