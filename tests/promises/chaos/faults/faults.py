"""Every fault by its name, dealt like cards: each turn of the deck brings each kind as often as it
says here.
"""

from collections import Counter
from random import Random

from django.db import DatabaseError, InterfaceError, connection
from redis import Redis, RedisError

from tests.promises.chaos.faults.bell_faults import BellFaults
from tests.promises.chaos.faults.line_faults import LineFaults
from tests.promises.chaos.faults.process_faults import ProcessFaults
from tests.promises.chaos.faults.server_faults import ServerFaults
from tests.promises.chaos.places import Agenda, NotNow
from tests.promises.chaos.world import World

DECK = {
    "kill_child": 4,
    "kill_parent": 1,
    "kill_tree": 1,
    "deploy": 1,
    "freeze": 2,
    "break_inside": 2,
    "kill_web_child": 1,
    "restart_web": 1,
    "kill_webhook_server": 1,
    "freeze_webhook_server": 1,
    "kill_mail_server": 1,
    "freeze_mail_server": 1,
    "kill_provider": 1,
    "freeze_provider": 1,
    "lose_answers_of_provider": 2,
    "refuse_at_provider": 1,
    "restart_postgres": 1,
    "crash_postgres": 1,
    "kill_session": 1,
    "terminate_sessions": 2,
    "flush_broker": 2,
    "freeze_broker": 1,
    "fill_broker": 1,
    "kill_broker": 1,
    "restart_broker": 1,
    "cut_database_line": 3,
    "cut_broker_line": 2,
    "lose_answers_of_database": 3,
    "lose_answers_of_broker": 1,
    "stall_database_line": 2,
    "stall_broker_line": 1,
    "unplug_line": 2,
    "double_bells": 2,
    "reorder_bells": 2,
    "put_garbage": 1,
    "forge_bells": 2,
}


class Faults:
    """Injects one fault at a time and counts them. A fault goes on after it was injected, while
    others begin.
    """

    def __init__(self, world: World, dice: Random, broker: Redis) -> None:
        self.world, self.dice, self.agenda = world, dice, Agenda()
        self.injected: Counter[str] = Counter()
        self._authors = [
            ProcessFaults(world, self.agenda, dice),
            LineFaults(world, self.agenda, dice),
            ServerFaults(world, self.agenda, dice, broker),
            BellFaults(dice, broker),
        ]
        self._cards: list[str] = []

    def inject(self) -> None:
        """One fault; none when what the card would break is not there to be broken."""
        self.agenda.run_due()
        self.world.look_after()
        self._cards = self._cards or self.dice.sample(
            list(DECK), len(self._whole_deck), counts=list(DECK.values())
        )
        name = self._cards.pop()
        fault = next(getattr(author, name) for author in self._authors if hasattr(author, name))
        try:
            fault()
        except (NotNow, RedisError):
            return
        except (DatabaseError, InterfaceError):  # our own session is not spared either
            connection.close()
            return
        self.injected[name] += 1

    def end(self) -> None:
        """No more faults: everybody awake, everything there."""
        self.agenda.run_all()
        self.world.restart_servers()
        for place in self.world.places:
            if not place.is_up or place.is_sentenced:
                place.start_again()

    @property
    def _whole_deck(self) -> list[str]:
        return [name for name, times in DECK.items() for _ in range(times)]
