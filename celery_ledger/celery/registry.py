"""The app's registry of tasks. Each task in it claims its job before its body runs.

A task may have any class: Celery's own `Task`, one of `celery.contrib`, one whose `__call__` does
not call its parent's. So the claim cannot be a method that such a class inherits and may override:
when a task is registered, its class is replaced by a subclass that has `Guard` in front.
"""

from celery import Task
from celery.app.registry import TaskRegistry


class LedgerRegistry(TaskRegistry):  # type: ignore[misc]
    """Guards each task that is put into it."""

    def __setitem__(self, name: str, task: Task) -> None:
        task.__class__ = guarded(type(task))
        super().__setitem__(name, task)


def guarded(cls: type[Task]) -> type[Task]:
    """A subclass of this class with `Guard` in front, and with `LedgerTask` behind if the class is
    not one already. A class that is guarded is returned as it is.
    """
    # a Celery app is made before Django's models can be imported
    from celery_ledger.celery.task import Guard, LedgerTask  # noqa: PLC0415

    if issubclass(cls, Guard):
        return cls
    bases = (Guard, cls) if issubclass(cls, LedgerTask) else (Guard, cls, LedgerTask)
    own = {"__module__": cls.__module__, "__doc__": cls.__doc__, "guarded_class": cls}
    return type(cls.__name__, bases, own)
