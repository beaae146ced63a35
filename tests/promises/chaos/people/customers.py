"""Customers who order and pay, sometimes by another card or elsewhere, cancel, withdraw, send back
and want to be forgotten; who repeat what fails, and remember every answer.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from random import Random
from typing import Any
from urllib.parse import urlencode

from tests.promises.chaos.people.wishes import ANOTHER, wish
from tests.promises.processes import Web

# of the orders are cancelled by whoever placed them: at once, or one that is confirmed
REGRETS = 0.25
BY_PAGE = 0.4  # of those that regret it, withdraw on the order's page
FROM_ONE = 0.5  # of those that are paid and have more units, withdraw from one of them there
SERVED = 0.2  # paid orders of others that are sent wholly, and of which a unit comes back
FORGOTTEN = 0.5  # of those, want to be forgotten
EXPORTS = 0.1  # as often as somebody orders
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
        self.by_page: set[str] = set()  # keys of those that are regretted there
        self.from_one: dict[str, str] = {}  # key, order
        self.served: list[str] = []  # orders
        self.forgotten: list[str] = []  # keys
        self.paid_later: set[str] = set()  # keys
        self.exports: list[str] = []
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
                self._serve_one(wants_to_be_forgotten=self.dice.random() < FORGOTTEN)
            self._pay_one()
            if self.dice.random() < EXPORTS:
                self._export()
            time.sleep(self.dice.uniform(0.05, 0.2))
            while self.is_busy() and self.may_order:
                time.sleep(0.2)

    def insist(self) -> list[str]:
        """After the trouble: whatever was never answered is, and whatever was is answered the same.
        Else its key.
        """
        self._regret(paid=True)
        unheard = [key for key in self.wishes if key not in self._answered]
        heard = sorted(self._answered.keys() - self.forgotten)  # who is forgotten is told otherwise
        again = unheard + self.dice.sample(heard, min(REPLAYS, len(heard)))
        return [
            *self._refused(self.order, again),
            *self._refused(self.cancel, self.regrets),
            *self._refused(self.withdraw_from_one, self.from_one),
        ]

    def insist_at_rest(self) -> list[str]:
        """Whoever has not paid does so now, unless a person looks at it. What is sent comes back,
        also of one more, and who wants to be forgotten is.
        """
        self._serve_one(wants_to_be_forgotten=True)
        return [
            *(key for key in self._refused(self.pay, self._unpaid()) if not self._is_held(key)),
            *self._refused(self.serve, self.served),
            *self._refused(self.forget, self.forgotten),
        ]

    def _refused(self, act: Callable[[str], bool], things: Iterable[str]) -> list[str]:
        return [one for one in things if not any(act(one) for _ in range(TRIES))]

    @property
    def _answered(self) -> dict[str, str]:
        """Orders by their keys."""
        return {key: order for key, status, order, _ in self.answers if status == 202}

    def pay(self, key: str) -> bool:
        """What its card did not, another one does; or money has come past every provider."""
        word, body = ("payments", {"token": ANOTHER})
        if "method" in self.wishes[key]["payment"]:
            word, body = ("mark-paid", {"reference": key})
        path = f"/v1/orders/{self._answered[key]}/{word}"
        if self._done("POST", path, body, Idempotency_Key=f"{key}-{word}") is None:
            return False
        self.paid_later.add(key)
        return True

    def forget(self, key: str) -> bool:
        person = {"email": self.wishes[key]["email"]}
        return self._done("POST", "/v1/customers/erase", person) is not None

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
        if key in self.by_page:
            return self._withdraw(key, self.regrets[key])
        if (
            heard := self._ask(
                "POST", f"/v1/orders/{self.regrets[key]}/cancel", {"reason": "regretted"}
            )
        ) is None:
            return False
        self.regret_answers.append((key, heard[0]))
        return heard[0] == 202

    def withdraw_from_one(self, key: str) -> bool:
        """What was chosen of the page as it was first is sent again until it is answered."""
        return self._withdraw(key, self.from_one[key], line_0="1", seen=f"0:{self._units(key)}")

    def _withdraw(self, key: str, order: str, **chosen: str) -> bool:
        """The statement is read, and confirmed; a second time it leads to the order's page."""
        _, found = self._ask("GET", f"/v1/orders/{order}") or (0, {})
        if "links" not in found:
            return False
        try:
            status = self._confirm(f"{found['links']['status_page']}withdraw/", chosen)
        except (OSError, HTTPException):
            return False
        self.regret_answers.append((key, 202 if status == 303 else status))
        return status == 303

    def _confirm(self, page: str, chosen: Mapping[str, str]) -> int:
        """The status of the confirmation, which has the statement's token."""
        status, answer, html = self.web.raw("GET", page, None, {})
        token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', html)
        if token is None:
            return status
        form = {"csrfmiddlewaretoken": token[1].decode(), "name": "Hana", **chosen}
        cookie = (answer.headers["Set-Cookie"] or "").partition(";")[0]
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        return self.web.raw("POST", page, urlencode(form), headers)[0]

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

    def _done(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer if it is one of success, else None."""
        status, answer = self._ask(method, path, body, **headers) or (0, None)
        return answer if status in (200, 201, 202) else None

    def _serve_one(self, *, wants_to_be_forgotten: bool) -> None:
        if mine := self._mine(paid=True):
            order = max(mine)
            self.served.append(order)
            if self.serve(order) and wants_to_be_forgotten:
                self.forgotten.append(mine[order])
                self.forget(mine[order])

    def _unpaid(self) -> list[str]:
        """Keys of orders that nobody has regretted, and that no first card pays."""
        return [
            key
            for key in self._answered
            if {"method", "attempts"} & self.wishes[key]["payment"].keys()
            and key not in self.regrets
            and key not in self.paid_later
        ]

    def _pay_one(self) -> None:
        if unpaid := self._unpaid():
            self.pay(self.dice.choice(unpaid))

    def _is_held(self, key: str) -> bool:
        _, order = self._ask("GET", f"/v1/orders/{self._answered[key]}") or (0, {})
        return bool(order.get("held"))

    def _export(self) -> None:
        key = f"{self.name}-export-{len(self.wishes)}"
        begun = self._done("POST", "/v1/exports/orders?format=ndjson", Idempotency_Key=key)
        if begun:
            self.exports.append(begun["id"])

    def _mine(self, *, paid: bool) -> dict[str, str]:
        """Orders that nobody has regretted or sent, with their keys."""
        mine = {
            order: key
            for key, status, order, _ in self.answers
            if status == 202
            and key not in self.regrets.keys() | self.from_one.keys()
            and order not in self.served
        }
        if paid:
            _, listed = self._ask("GET", "/v1/orders?state=confirmed&limit=100") or (0, {})
            confirmed = {order["id"] for order in listed.get("data", ())}
            mine = {order: key for order, key in mine.items() if order in confirmed}
        return mine

    def _regret(self, *, paid: bool) -> None:
        """The newest order, or the newest that is paid, or a unit of that; what comes of it is
        asked for again in the end.
        """
        if mine := self._mine(paid=paid):
            order = max(mine)  # ids go up with time
            key, has_more = mine[order], paid and self._units(mine[order]) > 1
            if has_more and self.dice.random() < FROM_ONE:
                self.from_one[key] = order
                self.withdraw_from_one(key)
                return
            self.regrets[key] = order
            if self.dice.random() < BY_PAGE:
                self.by_page.add(key)
            if has_more:
                self._get_one(order)
            self.cancel(key)

    def _units(self, key: str) -> int:
        return int(self.wishes[key]["lines"][0]["quantity"])

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
        self.wishes[key] = wish(key, self.dice)
        return key
