"""A task that nothing but the ledger protects from happening twice: its effect has no unique constraint."""

from celery import shared_task
from django.db import connection


@shared_task(soft_time_limit=110, time_limit=120)  # long enough that a ghost is not stopped by its own time limit
def tally(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])
        cursor.execute("SELECT pg_sleep(0.1)")
