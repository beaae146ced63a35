"""What stands where Celery would load a scheduler for `celery beat`."""

from typing import Any, NoReturn

from celery.beat import Scheduler

NO_BEAT = (
    "This app needs no beat: the clocks of its workers promise what beat_schedule has due, "
    "one job for each time. Start a worker; `manage.py jobs list` shows what it promised."
)


class NoBeat(Scheduler):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> NoReturn:
        raise SystemExit(f"Error: {NO_BEAT}")
