"""What customers want, and how they pay for it."""

from random import Random
from typing import Any

from orders.payments.provider import ELSEWHERE

TOKENS = {
    "pm_card_visa": 50,
    "pm_card_chargeDeclined": 10,
    "pm_double_processing": 8,
    "pm_double_webhook_first": 8,
    "pm_double_webhook_twice": 8,
    "pm_double_webhook_never": 8,
    "pm_double_lose_answer": 4,
    "pm_double_lose_all": 3,
    "pm_double_hang": 1,
    ELSEWHERE: 8,
}
DECLINED, ANOTHER = "pm_card_chargeDeclined", "pm_card_visa"


def wish(key: str, dice: Random) -> dict[str, Any]:
    """The body of an order, of a person of its own."""
    quantity = dice.randint(1, 4)
    return {
        "external_id": key,
        "currency": "JPY",
        "email": f"{key}@example.com",
        "customer": {"name": f"Hana {key}."},
        "locale": dice.choice(("ja", "en")),
        "lines": [
            {"sku": "SAKE-NIGIRI", "quantity": quantity, "unit_price": 300, "tax": 30 * quantity}
        ],
        "total": 330 * quantity,
        "payment": payment(dice),
    }


def payment(dice: Random) -> dict[str, Any]:
    """One token; of those that are declined, half may be followed by another one."""
    token = dice.choices(list(TOKENS), list(TOKENS.values()))[0]
    if token == ELSEWHERE:
        return {"method": "bank_transfer"}
    may_try_again = token == DECLINED and dice.random() < 0.5
    return {"token": token, "attempts": 2} if may_try_again else {"token": token}


def last_card(payment: dict[str, Any]) -> str:
    return ANOTHER if "attempts" in payment else str(payment.get("token", ELSEWHERE))
