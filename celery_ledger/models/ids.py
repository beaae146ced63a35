"""The ids of rows. An id in Celery may be any text; in Postgres each is a UUID."""

from uuid import UUID, uuid5

NAMED = UUID("6b616974-656e-5000-8000-6e616d65642e")  # the namespace of ids that are no UUID


def is_named(id_: str) -> bool:
    """Whether this id in Celery is no UUID, like `task_id="order-17"`."""
    try:
        UUID(id_)
    except ValueError:
        return True
    return False


def row_id(id_: str) -> UUID:
    """The id in Postgres of the job, group or chord that has this id in Celery."""
    return uuid5(NAMED, id_) if is_named(id_) else UUID(id_)
