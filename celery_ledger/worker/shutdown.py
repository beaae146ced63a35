"""How a worker stops: what runs is finished, if that takes no longer than DRAIN_S.

A platform sends SIGTERM to every process of a container, perhaps more than once, and SIGKILL half a
minute later. Celery's main process waits for its pool then, but the pool's processes would die of
it in the middle of a job. So they heed only the main process, which means it: a time limit, or a
cold shutdown (SIGQUIT, or Ctrl-C twice). Whoever has not finished DRAIN_S after the platform's word
is killed, so that there is time left to give its job back. Nor does a worker wait so long for
processes that have nothing to do any more: Celery may have forgotten what it handed to one (ADR
16).
"""

import contextlib
import logging
import os
import signal
import threading
from typing import Any

from celery import bootsteps, signals

from celery_ledger.celery.consumer import has_processes
from celery_ledger.conf import ledger_settings

log = logging.getLogger(__name__)

_begun = threading.Event()
_idle = threading.Event()


def has_begun() -> bool:
    """True from the moment that this worker is told to stop: a process that ends now is no fault of
    its job.
    """
    return _begun.is_set()


def wait_no_longer() -> None:
    """Said by the clock: no job has run here for DRAIN_IDLE_S."""
    _idle.set()


def heed_the_main_process_only(**_: Any) -> None:
    """In each process of the pool: SIGTERM ends it at once when our main process sent it, and not
    otherwise.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_when_told, name="ledger-stopping", daemon=True).start()


def _end_when_told() -> None:
    main = os.getppid()
    while True:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == main:
            os._exit(os.EX_OK)


class DrainStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Gives the pool its time when the worker is told to stop. A pool of threads has no processes
    to wait for.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._parent = parent
        self._drain: threading.Thread | None = None
        signals.worker_process_init.connect(heed_the_main_process_only, sender=parent.hostname)
        signals.worker_shutting_down.connect(self._begin, sender=parent.hostname)

    def _begin(self, **_: Any) -> None:
        """Runs in Celery's signal handler, at every signal; the first counts."""
        _begun.set()
        if self._drain is None and has_processes(self._parent):
            self._drain = threading.Thread(target=self._wait, name="ledger-drain", daemon=True)
            self._drain.start()

    def _wait(self) -> None:
        if _idle.wait(ledger_settings.DRAIN_S):
            log.info(
                "No job runs here any more, and still Celery waits for its processes: "
                "they are killed"
            )
        self._kill_the_pool()

    def _kill_the_pool(self) -> None:
        """By way of Celery, which knows then that nobody was lost, and complains of nothing."""
        try:
            pids = self._parent.pool.info.get("processes", ())
        except AttributeError:  # the pool has gone already, and something else takes its time
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._parent.pool.terminate_job(pid, signal.SIGKILL)
