"""All customers, and what all of them know."""

from tests.promises.chaos.people.customers import Customer
from tests.promises.chaos.people.wishes import last_card

FINISH_LIMIT_S = 60


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
        """Key, total and last card of everything that anybody wanted, and whether they regretted
        it.
        """
        wishes = [
            (key, wish, key in who.regrets)
            for who in self.customers
            for key, wish in who.wishes.items()
        ]
        return [
            (key, wish["total"], last_card(wish["payment"]), regretted)
            for key, wish, regretted in wishes
        ]

    @property
    def told_of_regrets(self) -> list[tuple[str, int]]:
        return [answer for customer in self.customers for answer in customer.regret_answers]

    @property
    def answers(self) -> list[tuple[str, int, str, str]]:
        return [answer for customer in self.customers for answer in customer.answers]

    @property
    def forgotten(self) -> list[tuple[str]]:
        """What nothing says any more."""
        wishes = [who.wishes[key] for who in self.customers for key in who.forgotten]
        return [
            (datum,)
            for wish in wishes
            for datum in (wish["email"], wish["customer"]["name"].lower())
        ]

    @property
    def withdrew_from_one(self) -> list[tuple[str]]:
        return [(key,) for who in self.customers for key in who.from_one]

    @property
    def verbs(self) -> dict[str, int]:
        """How often what was done."""
        words = ("by_page", "from_one", "served", "forgotten", "paid_later", "exports")
        return {word: sum(len(getattr(who, word)) for who in self.customers) for word in words}

    def insist(self) -> list[str]:
        return [key for customer in self.customers for key in customer.insist()]

    def insist_at_rest(self) -> list[str]:
        return [key for customer in self.customers for key in customer.insist_at_rest()]
