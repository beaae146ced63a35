"""The scheduler class that `celery beat` loads here: it refuses to start."""

from typing import Any, NoReturn

from celery.beat import Scheduler

NO_BEAT = (
    "This app needs no beat: the clocks of its workers promise what beat_schedule has due, "
    "one job for each time. Start a worker; `manage.py jobs list` shows what it promised."
)


class NoBeat(Scheduler):  # type: ignore[misc]
    """Ends `celery beat` with a sentence, on standard error, that says what to start instead."""

    def __init__(self, *args: Any, **options: Any) -> NoReturn:
        raise SystemExit(f"Error: {NO_BEAT}")
