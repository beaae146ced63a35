"""What may happen to the lines between a dyno and a server."""

import signal
from random import Random

from tests.promises.chaos.places import Agenda, NotNow, Place
from tests.promises.chaos.world import World


class LineFaults:
    def __init__(self, world: World, agenda: Agenda, dice: Random) -> None:
        self.world, self.agenda, self.dice = world, agenda, dice

    def cut_database_line(self) -> None:
        self._any(self.world.database_lines).signal(signal.SIGUSR1)

    def cut_broker_line(self) -> None:
        self._any(self.world.broker_lines).signal(signal.SIGUSR1)

    def lose_answers_of_database(self) -> None:
        """What committed meanwhile, nobody heard."""
        self._any(self.world.database_lines).signal(signal.SIGUSR2)

    def lose_answers_of_broker(self) -> None:
        self._any(self.world.broker_lines).signal(signal.SIGUSR2)

    def stall_database_line(self) -> None:
        """A worker's, once in a while, for longer than the others wait for it."""
        side = self.dice.choice(list(self.world.database_lines))
        durations = (0.3, 1.0, 2.0) if side == "web" else (0.3, 1.0, 3.0, 17.0)
        self._well(self.world.database_lines[side]).freeze(self.agenda, self.dice.choice(durations))

    def stall_broker_line(self) -> None:
        self._any(self.world.broker_lines).freeze(self.agenda, self.dice.choice((0.3, 2.0, 6.0)))

    def unplug_line(self) -> None:
        """Gone, and connections are refused for a moment."""
        place = self._well(self.dice.choice(self.world.lines))
        place.kill()
        self.agenda.later(self.dice.uniform(0.1, 1.5), place.start_again)

    def _any(self, lines: dict[str, Place]) -> Place:
        return self._well(lines[self.dice.choice(list(lines))])

    def _well(self, place: Place) -> Place:
        if not place.is_well:
            raise NotNow
        return place
