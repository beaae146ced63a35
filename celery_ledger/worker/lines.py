"""Looks for lines (of jobs that wait for a place of their key) whose next job nobody will bring.

The process that should have brought it may have died between its commit and that, or Postgres was
away at that moment.
"""

from time import monotonic

from celery import Celery

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job


class Lines:
    """The clock's part that brings the next job of such a line."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._after = ""  # the key at which the newest look has ended
        self._looked_at = monotonic()

    def look_now_and_then(self) -> None:
        """Look every LIMIT_SWEEP_S, if any task has a `concurrency`."""
        if monotonic() - self._looked_at >= ledger_settings.LIMIT_SWEEP_S:
            self._looked_at = monotonic()
            if any(getattr(task, "concurrency", None) for task in self.app.tasks.values()):
                self.look()

    def look(self) -> None:
        """Look at the next LIMIT_SWEEP_KEYS lines, and bring the next job of each in which no
        running job has word. If a job that has just ended brings one too, the second gets in line
        again.
        """
        number = ledger_settings.LIMIT_SWEEP_KEYS
        lines = Job.objects.lines(after=self._after, number=number)
        self._after = lines[-1][0] if len(lines) == number else ""
        self.app.amqp.bring([key for key, has_word in lines if not has_word])
