"""The heartbeat: by it the other workers know that this one lives."""

import os
from time import monotonic
from uuid import UUID

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Worker


class Heartbeat:
    """Writes the beat of one worker, and finds where it left a gap."""

    def __init__(self, worker: UUID, name: str) -> None:
        self.worker = worker
        self.name = name
        self.patient_until = 0.0  # till then nobody else is taken for silent
        self._beat_at: float | None = None

    def beat(self, queues: list[str] | None = None, quiet_s: float = 0) -> None:
        """Tell the others that this worker lives.

        After a gap in our own beats, Postgres or this machine was away, and the other workers look
        silent through no fault of theirs: they get the time to beat again before anybody takes
        their jobs.
        """
        Worker.objects.beat(
            self.worker, name=self.name, pid=os.getpid(), queues=queues, quiet_s=quiet_s
        )
        now = monotonic()
        if self._beat_at is not None and now - self._beat_at > ledger_settings.WORKER_SILENCE_S / 2:
            self.patient_until = now + ledger_settings.WORKER_SILENCE_S
        self._beat_at = now
