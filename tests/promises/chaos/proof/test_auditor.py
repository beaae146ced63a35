"""Each audit is worth what it can find: one corruption is planted for each, and that audit alone
reports it.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from celery_ledger.testing import work_off
from notifications.models import Endpoint, Event
from orders.inputs.order import OrderInput
from orders.models import Client, Fulfilment, Order, Stock, withdraw
from orders.payments.sandbox_book import SandboxCharge, SandboxRefund
from orders.tasks import give_back, place
from tests.doubles.edges import Postbox, WebhookSink
from tests.doubles.stripe import StripeDouble
from tests.doubles.stripe_wire import Request
from tests.promises.chaos.outside.mail_server import heard
from tests.promises.chaos.proof.auditor import violations
from tests.promises.chaos.proof.audits import AUDITS
from tests.promises.chaos.proof.evidence import TABLES, Evidence, provider_book, provider_refunds
from tests.promises.chaos.tasks import TABLE, tally

pytestmark = pytest.mark.django_db
TOKENS = ("tok_ok", "tok_declined", "tok_webhook_never", "tok_ok", "tok_ok", "tok_ok")
REGRETTED, SENT_IN_PART, WITHDRAWN_FROM = "c-3", "c-4", "c-5"
Plant = Callable[[Evidence], Any]


@pytest.fixture
def honest(
    shop: Client,
    stock: Callable[..., Stock],
    order_body: Callable[..., Any],
    sink: WebhookSink,
    postbox: Postbox,
) -> Evidence:
    """A small world where all went well, and what everybody knows of it."""
    sql(TABLE)
    stock()
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])
    bodies = {
        f"c-{index}": order_body(external_id=f"c-{index}", payment={"token": token})
        for index, token in enumerate(TOKENS)
    }
    orders = {key: place(shop, OrderInput.model_validate(body)) for key, body in bodies.items()}
    work_off_with_regrets(orders)
    return {
        "heard_webhook": [webhook(headers, body) for headers, body in sink.heard],
        "heard_mail": [(*heard(mail).values(), True) for mail in postbox.mails],
        "provider_charge": sandbox_book(),
        "provider_refund": sandbox_refunds(),
        "asked": [asked(key, body) for key, body in bodies.items()],
        "told": [(key, 202, str(order.pk), key) for key, order in orders.items()],
        "forgotten": [("taro@example.com",)],
        "withdrew_from_one": [(WITHDRAWN_FROM,)],
        "exported": [("e", "done", 6, 6, 0)],
        "told_of_regret": [(REGRETTED, 202), (SENT_IN_PART, 202)],
        "promised": [(0, 0, True), (1, 0, True), (2, 2, False)],
        "seen_job": rows("SELECT id::text, md5(job::text) FROM celery_ledger_job job"),
    }


def work_off_with_regrets(orders: dict[str, Order]) -> None:
    """And three tallies. One is cancelled whole, one when a part of it is sent, and from one unit
    of a third its customer withdraws.
    """
    for number in range(3):
        tally.delay(number)
    work_off(ahead=timedelta(days=1))
    with transaction.atomic():
        part = Order.objects.locked(orders[SENT_IN_PART].pk)
        Fulfilment.objects.ship(part, [(part.own_lines[0], 1)])
        for order in (Order.objects.locked(orders[REGRETTED].pk), part):
            give_back(order.cancel("regretted"))
        other = Order.objects.locked(orders[WITHDRAWN_FROM].pk)
        give_back(withdraw(other, [(other.own_lines[0], 1)]))
    work_off(ahead=timedelta(days=1))


def asked(key: str, body: dict[str, Any]) -> tuple[Any, ...]:
    is_regretted = key in (REGRETTED, SENT_IN_PART)
    return key, body["total"], body["payment"]["token"], is_regretted


def sandbox_refunds() -> list[tuple[Any, ...]]:
    return list(SandboxRefund.objects.values_list("key", "amount", "currency", "status"))


def sandbox_book() -> list[tuple[Any, ...]]:
    return list(
        SandboxCharge.objects.values_list("key", "metadata__order", "amount", "currency", "status")
    )


def webhook(headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
    event = json.loads(body)
    digest = hashlib.sha256(body).hexdigest()
    return (
        headers["webhook-id"],
        digest,
        200,
        event["type"],
        event["data"]["order"]["version"],
        True,
    )


def test_an_honest_world_passes_every_audit(honest: Evidence) -> None:
    assert all(honest.values())
    assert violations(honest) == {}


def test_the_providers_book_is_read_as_it_stands(tmp_path: Path) -> None:
    """Three charges in the double's own book: one taken and given back in part, one declined, one
    not decided.
    """
    book = tmp_path / "book.jsonl"
    cards = ("pm_card_visa", "pm_card_chargeDeclined", "pm_double_processing")
    with StripeDouble(book) as double:
        for card in cards:
            params = {
                "amount": "660",
                "currency": "jpy",
                "payment_method": card,
                "confirm": "true",
                "automatic_payment_methods[enabled]": "true",
                "automatic_payment_methods[allow_redirects]": "never",
                "metadata[order]": f"order of {card}",
            }
            double.answer(Request("POST", "/v1/payment_intents", params, f"key of {card}"))
        [taken] = [
            made for made in double.book.of_kind("payment_intent") if made["status"] == "succeeded"
        ]
        back = {
            "payment_intent": taken["id"],
            "amount": "60",
            "metadata[order]": "order of pm_card_visa",
        }
        double.answer(Request("POST", "/v1/refunds", back, "key of the refund"))
    statuses = ("succeeded", "declined", "pending")
    assert provider_book(book) == [
        (f"key of {card}", f"order of {card}", 660, "JPY", status)
        for card, status in zip(cards, statuses, strict=True)
    ]
    assert provider_refunds(book) == [("key of the refund", 60, "JPY", "succeeded")]


# --- one corruption per audit ---------------------------------------------------------------------

RESERVATION = "(SELECT id FROM celery_ledger_job WHERE task = 'orders.tasks.reserve' LIMIT 1)"
CONFIRMED = "(SELECT id FROM orders_order WHERE state = 'confirmed' ORDER BY id LIMIT 1)"
SHOWN = """
    UPDATE notifications_event AS e SET data = jsonb_set(e.data, '{order}', e.data -> 'order'
           || jsonb_build_object('state', o.state, 'payment_state', o.payment_state,
                                 'refunded', o.refunded))
      FROM orders_order o WHERE e.subject = o.id AND e.seq = o.version"""
NOBODY = "00000000-0000-4000-8000-000000000000"


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def books(*statements: str) -> Plant:
    """Our own rows are changed. The witness was not there, or its audit would speak up as well."""

    def plant(evidence: Evidence) -> None:
        evidence["seen_job"] = []
        for statement in statements:
            sql(statement)

    return plant


def added(table: str, *row: Any) -> Plant:
    return lambda evidence: evidence.setdefault(table, []).append(row)


def removed(table: str) -> Plant:
    return lambda evidence: evidence[table].pop(0)


def repeated(table: str, **changes: Any) -> Plant:
    """The table's first row once more, with changes by the column's name."""
    columns = [column.split()[0] for column in TABLES[table].split(", ")]
    return lambda evidence: evidence[table].append(
        tuple({**dict(zip(columns, evidence[table][0], strict=True)), **changes}.values())
    )


def all_of(*plants: Plant) -> Plant:
    return lambda evidence: [plant(evidence) for plant in plants]


def a_step_that_happened_twice(evidence: Evidence) -> None:
    """And was told twice, so that nothing else is wrong with it."""
    event = Event.objects.filter(kind="order.received").first()
    delivery = str(event.deliveries.get(channel="webhook").pk) if event else ""
    if event:
        Event.objects.filter(pk=event.pk).update(kind="order.reserved")
    evidence["heard_webhook"] = [
        (id_, digest, status, "order.reserved" if id_ == delivery else kind, seq, signed)
        for id_, digest, status, kind, seq, signed in evidence["heard_webhook"]
    ]


def money_that_nobody_gives_back(evidence: Evidence) -> None:
    """The order knows nothing of its refund, and neither does anybody else."""
    cancelled = Order.objects.get(state="cancelled", external_id=REGRETTED).pk
    evidence["provider_refund"] = [
        row for row in evidence["provider_refund"] if not row[0].startswith(str(cancelled))
    ]
    books(
        f"DELETE FROM orders_refund WHERE order_id = '{cancelled}'",
        f"DELETE FROM orders_paymentoperation WHERE kind = 'refund' AND order_id = '{cancelled}'",
        "UPDATE orders_order SET refunded = 0 WHERE state = 'cancelled'",
        SHOWN,
    )(evidence)


def one_more_listener(evidence: Evidence) -> None:
    Endpoint.objects.create(owner=Client.objects.get().pk, url="http://127.0.0.1:9/", events=["*"])


PLANTED: dict[str, Plant] = {
    "I1 an accepted order has its row, its event and its first job": books(
        "DELETE FROM celery_ledger_job WHERE id = (SELECT id FROM celery_ledger_job "
        "WHERE task = 'orders.tasks.reserve' LIMIT 1)"
    ),
    "I2 done means exactly one effect, anything else none": books("INSERT INTO tally VALUES (0)"),
    "I2 what was promised has happened, or died": added("promised", 7, 7, True),
    "I2 no step of an order happened twice": a_step_that_happened_twice,
    "I3 nothing runs any more": books(
        "UPDATE celery_ledger_job SET state = 'running', finished_at = NULL, lease_until = now() "
        f"WHERE id = {RESERVATION}"
    ),
    "I4 what was finished stayed as it was": lambda evidence: sql(
        f"UPDATE celery_ledger_job SET attempts = attempts + 1 WHERE id = {RESERVATION}"
    ),
    "I5 nothing due waits any more": books(
        "UPDATE celery_ledger_job SET state = 'waiting', finished_at = NULL, "
        "due_at = created_at - interval '1 s'"
        f" WHERE id = {RESERVATION}"
    ),
    "I5 no due job waited long beside an idle process": added("left_alone", "left", 91.0),
    "I6 what was lost has run again": books(
        f"UPDATE celery_ledger_job SET losses = attempts WHERE id = {RESERVATION}"
    ),
    "I7 a job that cost three workers is dead": books(
        f"UPDATE celery_ledger_job SET losses = 3, attempts = 4 WHERE id = {RESERVATION}"
    ),
    "I7 no other job is dead, unless its time ran out": books(
        f"UPDATE celery_ledger_job SET state = 'dead' WHERE id = {RESERVATION}"
    ),
    "nobody stood in line beside a free place": added("stood_in_line", 91.0),
    "no more of one task ran at once than may": added("crowded", "task x", 3),
    "I14 nothing ran that nobody promised": books("INSERT INTO tally VALUES (42)"),
    "I14 no bell made a job begin before it was due": books(
        "UPDATE celery_ledger_job SET due_at = started_at + interval '1 ms' "
        f"WHERE id = {RESERVATION}"
    ),
    "I1 what a customer was told is in our books": all_of(
        added("asked", "c-9", 660, "tok_ok", False), added("told", "c-9", 202, NOBODY, "c-9")
    ),
    "I8 one charge per order": repeated("provider_charge"),
    "I8 what was paid elsewhere is noted once, and pays its order": books(
        f"UPDATE orders_order SET payment_method = 'bank_transfer' WHERE id = {CONFIRMED}"
    ),
    "I8 the provider gave back only what we promised": added(
        "provider_refund", "x", 1, "JPY", "succeeded"
    ),
    "I8 whoever cancelled has paid nothing": money_that_nobody_gives_back,
    "I8 the provider knows no charge that is not ours": added(
        "provider_charge", "x", NOBODY, 1, "JPY", "succeeded"
    ),
    "I8 our books and the provider's say the same": books(
        f"UPDATE orders_order SET refunded = 1 WHERE id = {CONFIRMED}", SHOWN
    ),
    "I8 no movement of money is unknown unless a person looks at it": books(
        f"UPDATE orders_paymentoperation SET state = 'sent' WHERE order_id = {CONFIRMED}"
    ),
    "I9 stock is the sum of its movements": books("UPDATE orders_stock SET on_hand = on_hand + 1"),
    "I9 what is reserved belongs to orders that hold it": books(
        f"UPDATE orders_stockmovement SET order_id = NULL WHERE order_id = {CONFIRMED}"
    ),
    "I9 whoever got a part has paid for that part": books(
        "UPDATE orders_orderline SET fulfilled = fulfilled - 1 WHERE fulfilled > 0"
    ),
    "I9 a return has come back as it was announced": books(
        "INSERT INTO orders_return (id, order_id, state, reason, lines) "
        f"SELECT id, id, 'announced', '', '[]' FROM orders_order WHERE id = {CONFIRMED}"
    ),
    "I10 every order has ended or is on hold with a reason": books(
        f"UPDATE orders_order SET state = 'reserved' WHERE id = {CONFIRMED}", SHOWN
    ),
    "I10 every order ended as its card says, or as its customer": all_of(
        removed("asked"), added("asked", "c-0", 660, "tok_ok", True)
    ),
    "I2 who withdrew from one unit has withdrawn from one": added("withdrew_from_one", "c-0"),
    "I12 same key, same answer, one order": repeated("told", digest="another"),
    "I12 no order that nobody asked for": removed("asked"),
    "an answer is 202, or says to come again": added("told", "c-0", 500, "", ""),
    "when all is well every key is answered": added("unanswered", "c-0"),
    "the version of an order counts its events": books(
        f"UPDATE orders_order SET version = version + 1 WHERE id = {CONFIRMED}"
    ),
    "I16 an order is as its newest event shows it": books(
        "UPDATE notifications_event SET data = jsonb_set(data, '{order,refund_pending}', '1') "
        f"WHERE kind = 'order.confirmed' AND subject = {CONFIRMED}"
    ),
    "who was erased is named nowhere": added("forgotten", "hana@example.com"),
    "an export was written, and another shop could take it in": repeated("exported", failed=1),
    "I11 every event is on its way to everybody who wants it": one_more_listener,
    "I11 every delivery has arrived": books(
        "UPDATE notifications_delivery SET state = 'waiting', delivered_at = NULL"
        " WHERE id = (SELECT id FROM notifications_delivery LIMIT 1)"
    ),
    "I11 what we call delivered was taken by the webhook server": removed("heard_webhook"),
    "I11 what we call delivered was taken by the mail server": removed("heard_mail"),
    "I11 no webhook was heard that is not ours": repeated("heard_webhook", delivery=NOBODY),
    "I11 no mail was heard that is not ours": repeated("heard_mail", delivery=NOBODY),
    "I11 every try of a webhook had the same bytes": repeated("heard_webhook", digest="another"),
    "I11 every try of a mail said the same": repeated("heard_mail", digest="another"),
    "every webhook was signed": repeated("heard_webhook", signed=False),
    "I13 no transaction was older than 60 s": added(
        "old_transaction", 61.0, "idle in transaction: SELECT 1"
    ),
    "I13 no socket was opened inside a transaction": added(
        "socket_in_transaction", "('127.0.0.1', 25)"
    ),
    "no process ended by itself": added("ended_by_itself", "web", "Kaiten cannot start"),
}


@pytest.mark.soak
def test_each_audit_finds_the_corruption_that_is_planted_for_it_and_no_other_does(
    honest: Evidence,
) -> None:
    """All in one honest world, which is as it was after each of them."""
    found = {}
    for audit, plant in PLANTED.items():
        evidence = {table: list(entries) for table, entries in honest.items()}
        with transaction.atomic():
            plant(evidence)
            found[audit] = set(violations(evidence))
            transaction.set_rollback(True)
    assert found == {audit: {audit} for audit in AUDITS}
