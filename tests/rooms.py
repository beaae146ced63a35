"""The rooms of the product, the arrows between them, and their modules."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
ARROWS = {  # a room and those that it may import
    "config": {"api", "demo", "ops", "orders", "notifications", "celery_ledger", "values"},
    "api": {"orders", "notifications", "celery_ledger", "values"},
    "demo": {"orders", "notifications", "celery_ledger", "values"},
    "ops": {"orders", "notifications", "celery_ledger", "values"},
    "orders": {"notifications", "celery_ledger", "values"},
    "notifications": {"celery_ledger", "values"},
    "celery_ledger": set[str](),
    "values": set[str](),
}
ROOMS = tuple(ARROWS)


def sources(*rooms: str) -> list[Path]:
    return [
        path
        for room in rooms
        for path in sorted((CHECKOUT / room).rglob("*.py"))
        if "migrations" not in path.parts
    ]
