"""The boot step that starts the process of threads, kills it when it is frozen, and starts another
when it has ended.
"""

import logging
import os
import signal
from mmap import mmap
from time import monotonic, sleep
from typing import Any

import billiard
from celery import bootsteps, signals

from celery_ledger.celery.consumer import has_processes
from celery_ledger.conf import ledger_settings
from celery_ledger.publishing.waking import LEAVE, say, threaded_tasks, use_pipe
from celery_ledger.threads.process import serve_in_threads

log = logging.getLogger(__name__)


class ThreadsStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs in the worker's main process, if its pool is one of processes and a task is threaded.

    With any other pool there is no process of threads, and jobs of threaded tasks run in the pool.
    """

    requires = ("celery.worker.components:Pool", "celery_ledger.worker.clock:ClockStep")

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._read_end, self._write_end = os.pipe()  # before any process is forked
        os.set_blocking(self._write_end, False)
        self._parent = parent
        self._process: Any = None
        self._leaving_at = 0.0  # by the monotonic clock; 0 while it need not leave
        if self.include_if(parent):
            use_pipe(self._write_end)
        signals.worker_shutting_down.connect(self._leave, sender=parent.hostname)
        signals.worker_shutdown.connect(self._join, sender=parent)

    def include_if(self, parent: Any) -> bool:
        return has_processes(parent) and bool(threaded_tasks(parent.app))

    def start(self, parent: Any) -> None:
        parent.clock.ringer.leave_to_threads(sorted(threaded_tasks(parent.app)))
        self._start()
        parent.timer.call_repeatedly(ledger_settings.THREADS_WATCH_S, self._look)

    def stop(self, parent: Any) -> None:
        """Let its calls end, while Celery waits for the jobs of the pool."""
        self._leave()

    def terminate(self, parent: Any) -> None:
        self._leave()
        self.kill()

    def kill(self) -> None:
        if self._process is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGKILL)

    def _start(self) -> None:
        self._pulse = mmap(-1, 1)  # a byte that the process changes as long as it moves
        self._felt, self._silent = 0, 0  # its newest value, and how many looks found it unchanged
        shared = {"read_end": self._read_end, "write_end": self._write_end, "pulse": self._pulse}
        self._process = billiard.get_context("fork").Process(
            target=serve_in_threads,
            args=(self._parent.app, self._parent.hostname),
            kwargs=shared,
            name="ledger-threads",
            daemon=True,
        )
        self._process.start()

    def _look(self) -> None:
        """Kill the process if it has not moved for THREADS_SILENCE_S, and start another if it has
        ended. It is called every THREADS_WATCH_S.
        """
        if self._leaving_at:
            return
        beat = self._pulse[0]
        self._silent = 0 if beat != self._felt else self._silent + 1
        self._felt = beat
        if self._silent * ledger_settings.THREADS_WATCH_S > ledger_settings.THREADS_SILENCE_S:
            log.error("The process of the threads is frozen: it is killed")
            self.kill()
        if not self._process.is_alive():
            log.warning(
                "The process of the threads has ended (exit code %s): here is another",
                self._process.exitcode,
            )
            self._start()

    def _leave(self, **_: Any) -> None:
        if not self._leaving_at and self._process is not None:
            self._leaving_at = monotonic()
            say(LEAVE)

    def _join(self, **_: Any) -> None:
        """Wait for the process until DRAIN_S are over, then kill it. The clock gives its unfinished
        jobs back afterwards.
        """
        if self._process is not None:
            until = self._leaving_at + ledger_settings.DRAIN_S
            while self._process.is_alive() and monotonic() < until:
                sleep(ledger_settings.THREADS_JOIN_S)
            self.kill()
