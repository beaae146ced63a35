"""The heartbeat of a worker: the row by which other workers see that it lives."""

import os
from time import monotonic
from uuid import UUID

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Worker


class Heartbeat:
    """Writes the beats of one worker, and notices gaps between them."""

    def __init__(self, worker: UUID, name: str) -> None:
        self.worker = worker
        self.name = name
        self.patient_until = 0.0  # by the monotonic clock: until then no worker is taken for silent
        self._beat_at: float | None = None

    def beat(self, queues: list[str] | None = None, quiet_s: float = 0) -> None:
        """Write that this worker lives, which queues it serves, and for how long it was quiet.

        After a gap in our own beats Postgres or this machine was away, and other workers may look
        silent without being so. They get WORKER_SILENCE_S to beat before their jobs are rescued.
        """
        Worker.objects.beat(
            self.worker, name=self.name, pid=os.getpid(), queues=queues, quiet_s=quiet_s
        )
        now = monotonic()
        if self._beat_at is not None and now - self._beat_at > ledger_settings.WORKER_SILENCE_S / 2:
            self.patient_until = now + ledger_settings.WORKER_SILENCE_S
        self._beat_at = now
