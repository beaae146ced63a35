"""The lines: whoever should have brought the next one in line may have died between its commit and
that, or Postgres was away. A clock looks for lines of which nobody that runs has word.
"""

from time import monotonic

from celery import Celery

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job


class Lines:
    def __init__(self, app: Celery) -> None:
        self.app = app
        self._after = ""  # the key at which the newest look has ended
        self._looked_at = monotonic()

    def look_now_and_then(self) -> None:
        """Every LIMIT_SWEEP_S, where a task is limited so."""
        if monotonic() - self._looked_at >= ledger_settings.LIMIT_SWEEP_S:
            self._looked_at = monotonic()
            if any(getattr(task, "concurrency", None) for task in self.app.tasks.values()):
                self.look()

    def look(self) -> None:
        """At the next LIMIT_SWEEP_KEYS lines: where no running job has word, one is brought.
        Should somebody have just ended and bring one too, the second stands in line again.
        """
        number = ledger_settings.LIMIT_SWEEP_KEYS
        lines = Job.objects.lines(after=self._after, number=number)
        self._after = lines[-1][0] if len(lines) == number else ""
        self.app.amqp.bring([key for key, has_word in lines if not has_word])
