"""What everybody outside our books knows: the tables that the audits join with ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection

from orders.payments.provider import ChargeStatus
from tests.doubles.stripe_book import acts_in, objects_in
from tests.promises.chaos.outside.journal import entries

Rows = list[tuple[Any, ...]]
Evidence = dict[str, Rows]  # by the table's name; a table that nobody filled is empty

STANDINGS = {  # of a payment intent, in our words
    "succeeded": ChargeStatus.SUCCEEDED.value,
    "requires_payment_method": ChargeStatus.DECLINED.value,
    "processing": ChargeStatus.PENDING.value,
    "canceled": ChargeStatus.DECLINED.value,
}
TABLES = {
    "heard_webhook": "delivery text, digest text, status int, kind text, seq int, signed bool",
    "heard_mail": "delivery text, target text, digest text, taken bool",
    "provider_charge": "key text, order_id text, amount bigint, currency text, status text",
    "provider_refund": "key text, amount bigint, currency text, status text",
    "asked": "key text, total bigint, token text, regretted bool",  # by the customers
    "told": "key text, status int, order_id text, digest text",  # to the customers
    "told_of_regret": "key text, status int",
    "withdrew_from_one": "key text",  # of the units of an order
    "forgotten": "said text",  # by whoever wants to be forgotten
    # what became of it; and of its files, when others took them in
    "exported": "export text, state text, orders int, total int, failed int",
    "promised": "number int, company int, certain bool",  # tallies; a company is done together
    "seen_job": "id text, digest text",  # finished, while it all went on
    "old_transaction": "age_s float, what text",
    "stood_in_line": "waited_s float",  # beside a free place
    "crowded": "key text, running int",  # jobs of one limit
    "left_alone": "worker text, waited_s float",  # due jobs, beside an idle process
    "socket_in_transaction": "target text",
    "ended_by_itself": "place text, said text",
    "unanswered": "key text",  # asked again when everything was well
}


@contextmanager
def loaded(evidence: Evidence) -> Iterator[None]:
    """Its tables are there inside the block, for this session."""
    with connection.cursor() as cursor:
        for name, columns in TABLES.items():
            cursor.execute(f"CREATE TEMP TABLE {name} ({columns})")
            with cursor.copy(f"COPY {name} FROM STDIN") as copy:
                for row in evidence.get(name, []):
                    copy.write_row(row)
            cursor.execute(f"ANALYZE {name}")
        yield
        for name in TABLES:
            cursor.execute(f"DROP TABLE pg_temp.{name}")


def webhooks_heard(journal: Path) -> Rows:
    return [
        (
            entry["delivery"],
            entry["digest"],
            entry["status"],
            entry["kind"],
            entry["seq"],
            entry["signed"],
        )
        for entry in entries(journal)
    ]


def mails_heard(journal: Path) -> Rows:
    return [
        (entry["delivery"], entry["target"], entry["digest"], entry["taken"])
        for entry in entries(journal)
    ]


def provider_book(book: Path) -> Rows:
    """Every charge that the provider has made, as its own book has it."""
    keys = keys_in(book)
    return [
        (
            keys[made["id"]],
            made["metadata"]["order"],
            made["amount"],
            made["currency"].upper(),
            STANDINGS[made["status"]],
        )
        for made in objects_in(book)
    ]


def provider_refunds(book: Path) -> Rows:
    """All money that it has given back."""
    keys = keys_in(book)
    return [
        (keys[made["id"]], made["amount"], made["currency"].upper(), made["status"])
        for made in objects_in(book, "refund")
    ]


def keys_in(book: Path) -> dict[str, str]:
    """The idempotency key that made each object, by the object's id."""
    acts = [(act["answer"]["key"], act["objects"]) for act in acts_in(book) if "answer" in act]
    return {made["id"]: key for key, objects in reversed(acts) for made in objects}
