"""Included into a worker whose inner parts a test breaks: what no signal and no line can do.

A file in the folder that INSIDE names, called after a fault and the worker's pid, is an order to
its main process; it is gone when the fault is there.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from celery import Task, shared_task, signals

INSIDE = "INSIDE"
PAUSE_S = 0.1
UNKNOWN = "an error that Celery does not know"
Fault = Callable[[Any], object]


def cancel_consumer(worker: Any) -> None:
    """It is connected and listens to no queue."""
    worker.consumer.task_consumer.cancel()


def keep_places(worker: Any) -> None:
    """Bells that were taken and are never acknowledged fill its hands."""
    qos = worker.consumer.task_consumer.channel.qos
    qos._delivered.update({f"never-{number}": None for number in range(100)})


def keep_slots(worker: Any) -> None:
    """Every process counts as busy, for ever."""
    worker.semaphore.value = -100  # so many results may still be on their way


def forget_pipes_to_processes(worker: Any) -> None:
    """Nobody is written to any more."""
    worker.pool._pool._all_inqueues.clear()


def forget_pipes_of_processes(worker: Any) -> None:
    """The event loop lost the descriptors on which results come."""
    for descriptor in worker.pool._pool._fileno_to_outq:
        worker.hub.remove_reader(descriptor)


def cut_pipes_to_processes(worker: Any) -> None:
    """What is written to them is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for process in worker.pool._pool._pool:
        os.dup2(nowhere, process.inqW_fd)
    os.close(nowhere)


def stop_processes(worker: Any) -> None:
    for process in worker.pool._pool._pool:
        os.kill(process.pid, signal.SIGSTOP)


def stop_one_process(worker: Any) -> None:
    os.kill(worker.pool._pool._pool[0].pid, signal.SIGSTOP)


def starve_the_loop(worker: Any) -> None:
    """The event loop, and with it the main thread, does not come back."""
    time.sleep(3600)


def end_with_an_error(worker: Any) -> None:
    """Celery ends the worker, and waits for a process that does not end."""
    stop_one_process(worker)
    raise AssertionError(UNKNOWN)


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        cancel_consumer,
        keep_places,
        keep_slots,
        forget_pipes_to_processes,
        forget_pipes_of_processes,
        cut_pipes_to_processes,
        stop_processes,
        stop_one_process,
        starve_the_loop,
        end_with_an_error,
    )
}


@shared_task(bind=True, atomic=False, max_retries=None)  # type: ignore[untyped-decorator]
def is_never_answered(self: Task) -> None:
    """A call outside that runs into its timeout, and is tried again."""
    time.sleep(2)
    raise self.retry(countdown=1)


def order(folder: Path, fault: str, pid: int) -> Path:
    """To be gone when it is done."""
    path = folder / f"{fault}.{pid}"
    path.touch()
    return path


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _listen(sender: Any, **_: Any) -> None:
    if INSIDE in os.environ:
        folder = Path(os.environ[INSIDE])
        threading.Thread(target=_obey, args=(sender.controller, folder), daemon=True).start()


def _obey(worker: Any, folder: Path) -> None:
    while True:
        for name, fault in FAULTS.items():
            path = folder / f"{name}.{os.getpid()}"
            if path.exists():
                path.unlink()
                worker.hub.call_soon(partial(fault, worker))
        time.sleep(PAUSE_S)
