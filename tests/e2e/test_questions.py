"""Questions of a shop's day, each answered from the belt in two clicks at most; and five thousand
dead jobs that are retried while processes of the worker are killed.
"""

import os
import re
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Page, expect
from psycopg import Connection

from tests.e2e.belt import at_the_belt, placed
from tests.e2e.conftest import DATABASE, Visit
from tests.promises.processes import children_of
from tests.waiting import until

CLICKS_MAX = 2
DEAD = 5000
# The question, the clicks, and what then stands there. {paid} and {bank} are numbers of orders, of
# which one is paid and the other waits for its customer's bank.
QUESTIONS: list[tuple[str, list[str], str]] = [
    ("What needs a person?", [], "Dead jobs"),
    ("Is a worker alive?", [], "1 worker"),
    ("Does the broker answer?", [], "the broker answers"),
    ("Where are the newest orders?", [], "All told"),
    ("Where is the order?", ["find {paid}"], "It waits to be sent"),
    ("Why is it stuck?", ["find {bank}"], "It waits for its customer, whose bank asks"),
    ("Who was told of it?", ["find {paid}"], "order.confirmed → hana@example.com"),
    (
        "What did the customer read?",
        ["find {paid}", "link order.confirmed → hana"],
        "As it is read",
    ),
    ("Send the mail again", ["find {paid}", "button Send again"], "It is sent again."),
    ("What does the customer see?", ["find {paid}", "link The customer's page"], "Confirmed"),
    ("Give a part back", ["find {paid}", "link Give money back"], "Is paid back"),
    ("Send it, with its tracking number", ["find {paid}", "link Send…"], "Tracking number"),
    ("Put it on hold", ["find {bank}", "link Put on hold"], "What it comes to"),
    ("Change its address", ["find {paid}", "link Edit"], "Postal code"),
    ("Which jobs died, and of what?", ["link Jobs"], "Boom"),
    ("Retry all of them", ["link Jobs", "link Try again: all of these"], f"Try again: {DEAD} jobs"),
    ("Pause the charges", ["link Queues", "button Pause payments"], "paused by admin"),
    ("Let them go on", ["link Queues", "button Resume payments"], "Done: Resume."),
    ("When are the books closed?", ["link Queues"], "each day at 00:05"),
    ("Who does not hear of anything?", ["link Told"], "Endpoints"),
    ("How much is left?", ["link Stock"], "SAKE"),
    ("What was sold today?", ["link Report"], "¥"),
    ("Which files came in?", ["link Files"], "Import a file"),
    ("Who did what?", ["link Staff"], "Resume"),
    ("Who has a key?", ["link Settings"], "Keys"),
]


@pytest.fixture
def database(site: str) -> Iterator[Connection]:
    """Of the stack."""
    url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{DATABASE}").geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def dead(database: Connection) -> Iterator[int]:
    """So many jobs of a task that is done at once, dead since a minute."""
    database.execute(
        """
        INSERT INTO celery_ledger_job (id, task, queue, args, envelope, owner, context, state,
               due_at, ring_at, rings, attempts, retries, losses, created_at, finished_at, error)
        SELECT gen_random_uuid(), 'orders.tasks.forget_old_keys', 'kaiten', '[[], {}]', envelope,
               '', '{"made": "dead"}', 'dead', now(), now(), 0, 11, 0, 0, now() - interval '1 min',
               now() - interval '1 min', '{"type": "Boom", "message": "the disk was full"}'
          FROM (SELECT envelope FROM celery_ledger_job
                 WHERE task = 'orders.tasks.reserve' LIMIT 1) AS pattern,
               generate_series(1, %s)
        """,
        [DEAD],
    )
    yield DEAD
    database.execute("DELETE FROM celery_ledger_job WHERE context ->> 'made' = 'dead'")


def clicked(page: Page, step: str) -> None:
    kind, _, name = step.partition(" ")
    if kind == "find":
        page.get_by_role("searchbox").fill(name)
        page.get_by_role("button", name="Find", exact=True).click()
    elif kind == "link":
        page.get_by_role("link", name=name).first.click()
    else:
        page.get_by_role("button", name=name).first.click()


def test_each_question_of_a_day_takes_two_clicks_at_most(
    visit: Visit, password: str, request: pytest.FixtureRequest
) -> None:
    window = visit(viewport={"width": 1280, "height": 900})
    numbers = {
        "paid": placed(window, until="Confirmed and paid"),
        "bank": placed(window, token="tok_confirm", until="Your bank asks you to confirm"),
    }
    request.getfixturevalue("dead")
    page = at_the_belt(window, password)
    unanswered = []
    for question, steps, answer in QUESTIONS:
        assert len(steps) <= CLICKS_MAX, question
        page.goto("/ops/")
        for step in steps:
            clicked(page, step.format(**numbers))
        try:
            expect(page.locator("main")).to_contain_text(answer)
        except AssertionError:
            unanswered.append((question, page.url, page.locator("main").inner_text()))
    assert unanswered == []


def test_five_thousand_dead_jobs_are_retried_while_processes_are_killed(
    visit: Visit, password: str, database: Connection, request: pytest.FixtureRequest
) -> None:
    window = visit()
    placed(window, until="Confirmed and paid")
    request.getfixturevalue("dead")
    page = at_the_belt(window, password)
    clicked(page, "link Jobs")
    clicked(page, "link Try again: all of these")
    page.get_by_role("button", name="Try again").click()
    for enough in (DEAD // 10, DEAD // 2):
        until(lambda enough=enough: done(database) >= enough, "it goes on", within_s=90)  # type: ignore[misc]
        kill_processes(database)
    expect(page.locator("h1")).to_have_text(
        re.compile(f"Try again: {DEAD} / {DEAD} ended"), timeout=120_000
    )
    retried = database.execute(
        """
        SELECT DISTINCT (SELECT count(*) FROM jsonb_array_elements(history) AS entry
                          WHERE entry ->> 'end' = 'retried')
          FROM celery_ledger_job WHERE context ->> 'made' = 'dead'
        """
    ).fetchall()
    assert retried == [(1,)]


def done(database: Connection) -> int:
    row = database.execute("SELECT done FROM ops_jobbatch ORDER BY at DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def kill_processes(database: Connection) -> None:
    """Those of the worker's pool."""
    for (pid,) in database.execute(
        "SELECT pid FROM celery_ledger_worker WHERE seen_at > now() - interval '5 s'"
    ).fetchall():
        for child in children_of(pid):
            os.kill(child, signal.SIGKILL)
