"""A schedule for the promises, written as Celery's users do it: a job a second, every one of them
caught up.
"""

from celery import current_app

from tests.promises.tasks import tally

current_app.add_periodic_task(1.0, tally.s(1), name="every-second")
current_app.conf.beat_schedule["every-second"]["catch_up"] = "all"
