"""The app's table of tasks: whatever is put into it claims its job before its body runs.

A task may have any class: Celery's own `Task`, one of `celery.contrib`, one whose `__call__` calls
nothing else. So the guard is no method that a class inherits or overrides; it is put in front of
the class of each task when it is registered, however it was made.
"""

from celery import Task
from celery.app.registry import TaskRegistry


class LedgerRegistry(TaskRegistry):  # type: ignore[misc]
    def __setitem__(self, name: str, task: Task) -> None:
        task.__class__ = guarded(type(task))
        super().__setitem__(name, task)


def guarded(cls: type[Task]) -> type[Task]:
    """The class, with the guard before it and, if it is none of the ledger's, its options behind
    it.
    """
    # a Celery app is made before Django's models can be imported
    from celery_ledger.celery.task import Guard, LedgerTask  # noqa: PLC0415

    if issubclass(cls, Guard):
        return cls
    bases = (Guard, cls) if issubclass(cls, LedgerTask) else (Guard, cls, LedgerTask)
    own = {"__module__": cls.__module__, "__doc__": cls.__doc__, "guarded_class": cls}
    return type(cls.__name__, bases, own)
