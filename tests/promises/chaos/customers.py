"""Customers who order and sometimes cancel, repeat what fails, and remember every answer."""

import hashlib
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from random import Random
from typing import Any

from tests.promises.processes import Web

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
}
# of the orders are cancelled by whoever placed them: at once, or one that is confirmed
REGRETS = 0.25
SERVED = 0.2  # paid orders of others that are sent wholly, and of which a unit comes back
FINISH_LIMIT_S = 60
REPLAYS = 50
TRIES = 3  # of a good client, who is told to come again


class Customer(threading.Thread):
    """Orders as long as it may. What fails it sends again under its key, as a good client does."""

    def __init__(
        self, web: Web, key: str, *, name: str, seed: int, is_busy: Callable[[], bool]
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.web, self.key, self.is_busy, self.dice = web, key, is_busy, Random(seed)
        self.wishes: dict[str, dict[str, Any]] = {}
        self.answers: list[
            tuple[str, int, str, str]
        ] = []  # key, status, order, digest of the answer
        self.regrets: dict[str, str] = {}  # key, order
        self.regret_answers: list[tuple[str, int]] = []
        self.served: list[str] = []  # orders
        self.may_order = True

    def run(self) -> None:
        while self.may_order:
            key = self._wish()
            while not self.order(key) and self.may_order:
                time.sleep(0.2)
            if self.dice.random() < 0.2:
                self.order(key)  # clicks twice
            if self.dice.random() < REGRETS:
                self._regret(paid=self.dice.random() < 0.5)
            if self.dice.random() < SERVED:
                self._serve_one()
            time.sleep(self.dice.uniform(0.05, 0.2))
            while self.is_busy() and self.may_order:
                time.sleep(0.2)

    def insist(self) -> list[str]:
        """After the trouble: whatever was never answered is, and whatever was is answered the same.
        Else its key.
        """
        self._regret(paid=True)
        answered = {key for key, status, _, _ in self.answers if status == 202}
        unheard = [key for key in self.wishes if key not in answered]
        heard = sorted(answered)
        again = unheard + self.dice.sample(heard, min(REPLAYS, len(heard)))
        return [
            *(key for key in again if not any(self.order(key) for _ in range(TRIES))),
            *(key for key in self.regrets if not any(self.cancel(key) for _ in range(TRIES))),
            *(order for order in self.served if not any(self.serve(order) for _ in range(TRIES))),
        ]

    def order(self, key: str) -> bool:
        if (
            heard := self._ask("POST", "/v1/orders", self.wishes[key], Idempotency_Key=key)
        ) is None:
            return False
        status, answer = heard
        digest = hashlib.sha256(repr(answer).encode()).hexdigest()
        self.answers.append((key, status, str(answer.get("id", "")), digest))
        return status == 202

    def cancel(self, key: str) -> bool:
        if (
            heard := self._ask(
                "POST", f"/v1/orders/{self.regrets[key]}/cancel", {"reason": "regretted"}
            )
        ) is None:
            return False
        self.regret_answers.append((key, heard[0]))
        return heard[0] == 202

    def serve(self, order: str) -> bool:
        """A note, a parcel, a return that is announced and received, with its money half of the
        times. Asked again, each says what it said.
        """
        path, unit = f"/v1/orders/{order}", {"lines": [{"position": 0, "quantity": 1}]}
        if self._ask("PATCH", path, {"note": "rings twice", "tags": ["chaos"]}) is None:
            return False
        parcel = {"carrier": "Yamato", "tracking": order}
        if not self._done("POST", f"{path}/fulfilments", parcel, Idempotency_Key=f"{order}-sent"):
            return False
        announced = self._done("POST", f"{path}/returns", unit, Idempotency_Key=f"{order}-back")
        if announced is None:
            return False
        money = {} if int(order[-1], 16) % 2 else {"amount": 0}
        came = f"{path}/returns/{announced['id']}/receive"
        return self._done("POST", came, unit | money, Idempotency_Key=f"{order}-came") is not None

    def _done(self, method: str, path: str, body: Any, **headers: str) -> Any:
        """The answer if it is one of success, else None."""
        status, answer = self._ask(method, path, body, **headers) or (0, None)
        return answer if status in (200, 201, 202) else None

    def _serve_one(self) -> None:
        if mine := self._mine(paid=True):
            self.served.append(max(mine))
            self.serve(max(mine))

    def _mine(self, *, paid: bool) -> dict[str, str]:
        """Orders that nobody has regretted or sent, with their keys."""
        mine = {
            order: key
            for key, status, order, _ in self.answers
            if status == 202 and key not in self.regrets and order not in self.served
        }
        if paid:
            _, listed = self._ask("GET", "/v1/orders?state=confirmed&limit=100") or (0, {})
            confirmed = {order["id"] for order in listed.get("data", ())}
            mine = {order: key for order, key in mine.items() if order in confirmed}
        return mine

    def _regret(self, *, paid: bool) -> None:
        """The newest order, or the newest that is paid; what comes of it is asked for again in the
        end.
        """
        if mine := self._mine(paid=paid):
            order = max(mine)  # ids go up with time
            self.regrets[mine[order]] = order
            if paid and self.wishes[mine[order]]["lines"][0]["quantity"] > 1:
                self._get_one(order)
            self.cancel(mine[order])

    def _get_one(self, order: str) -> None:
        """The shop has sent one unit, half of the times: what is cancelled then is the rest."""
        if self.dice.random() < 0.5:
            one = {"lines": [{"position": 0, "quantity": 1}]}
            self._ask("POST", f"/v1/orders/{order}/fulfilments", one, Idempotency_Key=f"{order}-1")

    def _ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any] | None:
        """Status and answer; None when nobody knows what came of it."""
        try:
            status, _, answer = self.web.ask(
                method, path, body, Authorization=f"Bearer {self.key}", **headers
            )
        except (OSError, HTTPException, ValueError):
            return None
        return status, answer

    def _wish(self) -> str:
        """One key, one order; the external id is the key, so that the books can be compared."""
        key = f"{self.name}-{len(self.wishes) + 1}"
        quantity = self.dice.randint(1, 4)
        self.wishes[key] = {
            "external_id": key,
            "currency": "JPY",
            "email": f"{self.name}@example.com",
            "locale": self.dice.choice(("ja", "en")),
            "lines": [
                {
                    "sku": "SAKE-NIGIRI",
                    "quantity": quantity,
                    "unit_price": 300,
                    "tax": 30 * quantity,
                }
            ],
            "total": 330 * quantity,
            "payment": {"token": self.dice.choices(list(TOKENS), list(TOKENS.values()))[0]},
        }
        return key


class Crowd:
    def __init__(self, customers: list[Customer]) -> None:
        self.customers = customers

    def come(self) -> None:
        for customer in self.customers:
            customer.start()

    def go_home(self) -> None:
        for customer in self.customers:
            customer.may_order = False
        for customer in self.customers:
            customer.join(timeout=FINISH_LIMIT_S)

    @property
    def asked(self) -> list[tuple[str, int, str, bool]]:
        """Key, total and card of everything that anybody wanted, and whether they regretted it."""
        wishes = [
            (key, wish, key in who.regrets)
            for who in self.customers
            for key, wish in who.wishes.items()
        ]
        return [
            (key, wish["total"], wish["payment"]["token"], regretted)
            for key, wish, regretted in wishes
        ]

    @property
    def told_of_regrets(self) -> list[tuple[str, int]]:
        return [answer for customer in self.customers for answer in customer.regret_answers]

    @property
    def told(self) -> list[tuple[str, int, str, str]]:
        return [answer for customer in self.customers for answer in customer.answers]

    def insist(self) -> list[str]:
        return [key for customer in self.customers for key in customer.insist()]
