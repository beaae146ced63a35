"""What may happen to processes: ours, and those of the outside world."""

import signal
import time
from http.client import HTTPException
from random import Random

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job
from tests.doubles.stripe import tell
from tests.promises.chaos.places import Agenda, NotNow, Place, kill
from tests.promises.chaos.world import World
from tests.promises.included import inside

# longer than the others wait, shorter than a soft time limit
LONG_S = ledger_settings.WORKER_SILENCE_S + 2.0


class ProcessFaults:
    def __init__(self, world: World, agenda: Agenda, dice: Random) -> None:
        self.world, self.agenda, self.dice = world, agenda, dice

    def kill_child(self) -> None:
        """One that is at work, if there is one."""
        children = self._worker().children
        running = Job.objects.filter(state="running", pid__in=children)
        at_work = running.values_list("pid", flat=True)
        victims = sorted(pid for pid in at_work if pid is not None) or children
        if not victims:
            raise NotNow
        kill(self.dice.choice(victims), signal.SIGKILL)

    def kill_parent(self) -> None:
        worker = self._worker()
        worker.kill_parent()
        worker.start_again()

    def kill_tree(self) -> None:
        self._worker().start_again()

    def deploy(self) -> None:
        """SIGTERM to every process, perhaps twice, then SIGKILL; the successor comes when it has
        ended.
        """
        worker = self._worker()
        worker.stop_politely()
        if self.dice.random() < 0.5:
            time.sleep(0.05)
            worker.stop_politely()
        self.agenda.later(self.dice.choice((0.2, 1.5, 8.0)), worker.start_again)

    def freeze(self) -> None:
        """For longer than the others wait, or for less; it wakes up as a ghost or as if nothing had
        been.
        """
        self._worker_at_work().freeze(self.agenda, self.dice.choice((0.5, 3.0, LONG_S)))

    def break_inside(self) -> None:
        """A part of its main process, which no signal and no line can reach."""
        pid = self._worker().tree.process.pid
        inside.order(self.world.orders, self.dice.choice(list(inside.FAULTS)), pid)

    def kill_web_child(self) -> None:
        if not self._well(self.world.web).children:
            raise NotNow
        for pid in self.world.web.children:
            kill(pid, signal.SIGKILL)

    def restart_web(self) -> None:
        web = self._well(self.world.web)
        web.stop_politely()
        self.agenda.later(self.dice.choice((0.1, 1.0, 3.0)), web.start_again)

    def kill_webhook_server(self) -> None:
        self._down_for_a_moment(self.world.webhook_server)

    def freeze_webhook_server(self) -> None:
        self._well(self.world.webhook_server).freeze(self.agenda, self.dice.choice((0.5, 3.0, 7.0)))

    def kill_mail_server(self) -> None:
        self._down_for_a_moment(self.world.mail_server)

    def freeze_mail_server(self) -> None:
        self._well(self.world.mail_server).freeze(self.agenda, self.dice.choice((0.5, 3.0, 12.0)))

    def kill_provider(self) -> None:
        self._down_for_a_moment(self.world.provider)

    def freeze_provider(self) -> None:
        """Also for longer than anybody waits for it."""
        self._well(self.world.provider).freeze(self.agenda, self.dice.choice((0.5, 3.0, 10.0)))

    def lose_answers_of_provider(self) -> None:
        """It does what it is asked for, and nobody hears of it."""
        self._tell_provider("lose_answer")

    def refuse_at_provider(self) -> None:
        self._tell_provider(self.dice.choice(("503", "429", "garbage")))

    def _tell_provider(self, flaw: str) -> None:
        self._well(self.world.provider)
        try:
            tell(self.world.provider_url, "flaw", flaw=flaw, times=self.dice.randint(1, 4))
        except (OSError, HTTPException, ValueError) as exc:
            raise NotNow from exc

    def _down_for_a_moment(self, place: Place) -> None:
        self._well(place).kill()
        self.agenda.later(self.dice.uniform(0.1, 1.5), place.start_again)

    def _worker_at_work(self) -> Place:
        """Any, if none is."""
        busy = set(Job.objects.filter(state="running").values_list("pid", flat=True))
        at_work = [
            place
            for place in self.world.workers
            if place.is_well and busy.intersection(place.children)
        ]
        return self.dice.choice(at_work) if at_work else self._worker()

    def _worker(self) -> Place:
        well = [place for place in self.world.workers if place.is_well]
        if not well:
            raise NotNow
        return self.dice.choice(well)

    def _well(self, place: Place) -> Place:
        if not place.is_well:
            raise NotNow
        return place
