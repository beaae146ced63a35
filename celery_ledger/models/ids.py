"""A job's id in Postgres, for its id in Celery, which may be any text."""

from uuid import UUID, uuid5

NAMED = UUID("6b616974-656e-5000-8000-6e616d65642e")  # the namespace of ids that are no UUID


def is_named(id_: str) -> bool:
    """True for an id that somebody has made up, like `task_id="order-17"`."""
    try:
        UUID(id_)
    except ValueError:
        return True
    return False


def row_id(id_: str) -> UUID:
    """The id of the job, group or chord that Celery knows by this text."""
    return uuid5(NAMED, id_) if is_named(id_) else UUID(id_)
