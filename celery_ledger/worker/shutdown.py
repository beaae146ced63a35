"""Stops a worker: running jobs may finish, if they take no longer than DRAIN_S.

A platform sends SIGTERM to every process of a container, perhaps more than once, and SIGKILL half a
minute later. Celery's main process then waits for its pool; but the pool's processes would end at
once, in the middle of a job. So they obey SIGTERM only from the main process, which sends it for a
time limit or a cold shutdown (SIGQUIT, or Ctrl-C twice). A process that is still busy DRAIN_S after
the platform's SIGTERM is killed, so that there is time left to give its job back. A worker whose
processes are all idle does not wait that long: Celery may wait for one by mistake (ADR 16).
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

_begun = threading.Event()  # the worker was told to stop
_idle = threading.Event()  # and no job runs here any more


def has_begun() -> bool:
    """Whether this worker was told to stop. The end of a process counts as no loss then."""
    return _begun.is_set()


def wait_no_longer() -> None:
    """Let the stopping worker kill its pool now. The clock calls it when no job has run here for
    DRAIN_IDLE_S.
    """
    _idle.set()


def heed_the_main_process_only(**_: Any) -> None:
    """Let SIGTERM end this process of the pool at once if our main process sent it; any other
    SIGTERM is ignored.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_when_told, name="ledger-stopping", daemon=True).start()


def _end_when_told() -> None:
    main = os.getppid()
    while True:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == main:
            os._exit(os.EX_OK)


class DrainStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """The boot step that gives the pool DRAIN_S when the worker is told to stop, and then kills it.
    Nothing is killed in a pool without processes.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._parent = parent
        self._drain: threading.Thread | None = None
        signals.worker_process_init.connect(heed_the_main_process_only, sender=parent.hostname)
        signals.worker_shutting_down.connect(self._begin, sender=parent.hostname)

    def _begin(self, **_: Any) -> None:
        """Begin the drain. Celery calls it in its signal handler, at every signal; the first
        counts.
        """
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
        """Kill the pool's processes by Celery's own way, so that it does not report them as
        lost.
        """
        try:
            pids = self._parent.pool.info.get("processes", ())
        except AttributeError:  # the pool is gone already; something else takes its time
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._parent.pool.terminate_job(pid, signal.SIGKILL)
