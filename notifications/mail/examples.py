"""An event of each kind that is mailed, to look at its mail: `manage.py mails preview`."""

from typing import Any
from uuid import UUID

from notifications.models import Event

NAMES = {"en": ("Salmon nigiri", "Green tea"), "ja": ("鮭のにぎり", "緑茶")}
AT = "2026-11-30T08:30:05+00:00"
LINE = {
    "sku": "SAKE-NIGIRI",
    "quantity": 2,
    "unit_price": 300,
    "discount": 0,
    "tax": 60,
    "fulfilled": 0,
    "withdrawn": 0,
    "announced": 0,
    "returned": 0,
    "units_refunded": 0,
    "refunded": 0,
}
TEA = LINE | {"sku": "RYOKUCHA", "quantity": 1, "unit_price": 400, "tax": 40}
UNPAID = {"state": "reserved", "captured": 0, "payment_state": "failed", "expires_at": AT}
SENT = [{"position": 0, "sku": "SAKE-NIGIRI", "quantity": 2}]
WITHDRAWN = [*SENT, {"position": 1, "sku": "RYOKUCHA", "quantity": 1}]
REFUND = {"amount": 440, "currency": "JPY", "state": "succeeded", "reason": "requested"}
RETURN = {
    "state": "received",
    "reason": "too small",
    "lines": [SENT[0] | {"received": 1, "restocked": 1}],
    "refund": REFUND,
}
FULFILMENT = {
    "lines": SENT,
    "carrier": "Yamato",
    "tracking": "4725-7551-6733",
    "tracking_url": "https://member.kms.kuronekoyamato.co.jp/parcel/detail?pno=472575516733",
}
PART_REFUNDED = {"refunded": 440, "payment_state": "partially_refunded"}
FIGURES = {"orders": 2, "gross": 2600, "refunds": 440, "net": 2160}
REPORT = {
    "date": "2026-11-30",
    "time_zone": "Asia/Tokyo",
    "currencies": [
        FIGURES
        | {
            "currency": "JPY",
            "by_hour": [FIGURES | {"hour": "2026-11-30T12:00:00+09:00"}],
            "top_skus": [{"sku": "SAKE-NIGIRI", "name": "鮭", "quantity": 4, "amount": 1320}],
        }
    ],
}
TROUBLE = {
    "channel": "webhook",
    "target": str(UUID(int=2)),
    "given_up": 12,
    "overdue": 3,
    "host": "shop.example.com",
    "said": "answered 503",
}
MATTERS = {
    "held": {
        "count": "2",
        "rows": [
            {"id": str(UUID(int=1)), "number": "K7QM-3XH9", "reason": "disputed"},
            {"id": str(UUID(int=4)), "number": "P2TN-8WB4", "reason": "refund_failed"},
        ],
    },
    "jobs": {
        "count": "200+",
        "rows": [{"id": str(UUID(int=3)), "task": "charge", "error": "ValueError"}],
    },
    "stock": {"count": "1", "rows": [{"sku": "SAKE-NIGIRI", "name": "鮭", "free": 4, "low_at": 5}]},
    "unmailed": {
        "count": "2",
        "rows": [{"id": "17", "why": "bounced"}, {"id": "16", "why": "complained"}],
    },
}
ENDPOINT = {
    "id": str(UUID(int=2)),
    "host": "shop.example.com",
    "failing_since": AT,
    "said": "answered 503",
    "waiting": "3",
    "given_up": "12",
    "lost_since": "2026-11-28T08:30:05Z",
    "share": 75,
    "ends_at": "2026-12-05T08:30:05+00:00",
    "disabled_at": None,
    "because": "",
}
DISABLED = ENDPOINT | {"disabled_at": "2026-12-05T09:10:00Z", "because": "failing", "share": 100}
# By kind: what is special about the order of the example, and the other members of its data.
HAPPENING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "order.received": ({"state": "received", "captured": 0, "payment_state": "none"}, {}),
    "order.action_required": (UNPAID | {"payment_state": "action_required"}, {}),
    "order.payment_failed": (UNPAID, {}),
    "order.confirmed": ({}, {}),
    "order.held": ({"held": True, "hold_reason": "address_unclear"}, {}),
    "order.released": ({}, {"hold": {"reason": "address_unclear"}}),
    "order.fulfilled": ({"fulfilment_state": "partial"}, {"fulfilment": FULFILMENT}),
    "order.fulfilment_cancelled": ({}, {"fulfilment": FULFILMENT}),
    "order.completed": (
        {"state": "completed", "reason": "requested", "refund_pending": 440, "withdrawn": 1},
        {},
    ),
    "order.cancelled": ({"state": "cancelled", "reason": "requested", "refund_pending": 1300}, {}),
    "order.refunded": (PART_REFUNDED, {"refund": REFUND}),
    "order.refund_failed": ({}, {"refund": REFUND | {"state": "failed"}}),
    "order.return_announced": ({}, {"return": RETURN}),
    "order.return_received": ({}, {"return": RETURN}),
    "order.return_cancelled": ({}, {"return": RETURN}),
    "order.withdrawn": (
        {"withdrawal": {"at": AT, "name": "佐藤 花", "lines": WITHDRAWN}, "refund_pending": 1300},
        {},
    ),
    "report.daily": ({}, {"report": REPORT}),
    "deliveries.failing": ({}, {"troubles": [TROUBLE], "more": 2, **MATTERS}),
    "endpoint.failing": ({}, {"endpoint": ENDPOINT}),
    "endpoint.disabled": ({}, {"endpoint": DISABLED}),
}


def example(kind: str, language: str) -> Event:
    """The example of a kind in HAPPENING, unsaved; each call returns the same."""
    special, beside = HAPPENING[kind]
    to_staff = {"mail": {"language": language}}
    whose = to_staff if not kind.startswith("order.") else {"order": _order(language, **special)}
    return Event(kind=kind, subject=UUID(int=1), seq=1, owner=None, data=whose | beside)


def _order(language: str, *, withdrawn: int = 0, **special: Any) -> dict[str, Any]:
    nigiri, tea = NAMES[language]
    order = {
        "id": str(UUID(int=1)),
        "number": "K7QM-3XH9",
        "external_id": "shop-1042",
        "state": "confirmed",
        "payment_state": "paid",
        "fulfilment_state": "none",
        "payment_method": "card",
        "held": False,
        "hold_reason": None,
        "reason": None,
        "version": 1,
        "currency": "JPY",
        "total": 1300,
        "captured": 1300,
        "refunded": 0,
        "refund_pending": 0,
        "email": "hana@example.com",
        "customer": None,
        "shipping_address": None,
        "billing_address": None,
        "metadata": {},
        "note": None,
        "tags": [],
        "locale": language,
        "withdrawal": None,
        "lines": [
            LINE | {"position": 0, "name": nigiri},
            TEA | {"position": 1, "name": tea, "withdrawn": withdrawn},
        ],
        "shipping": {"amount": 180, "tax": 20},
        "created_at": AT,
        "updated_at": AT,
        "expires_at": None,
        "links": {"self": "/v1/orders/…", "events": "/v1/orders/…/events", "status_page": "/o/…/"},
    }
    return {**order, **special}
