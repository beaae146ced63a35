"""What a job's row tells of its newest failure."""

from celery_ledger.models import Job


def error_of(job: Job) -> dict[str, str]:
    """Its type and its message. A job that has no failure to tell of fails the test."""
    error: dict[str, str] | None = job.error
    assert error is not None, f"no failure of {job.task} is kept"
    return error
