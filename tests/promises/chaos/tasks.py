"""A task that nothing but the ledger protects from happening twice: its effect has no unique
constraint.
"""

from celery import shared_task
from django.db import connection

TABLE = "CREATE TABLE tally (number int)"


@shared_task  # with the usual time limits, so that a lease that nobody ended runs out soon
def tally(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])
        cursor.execute("SELECT pg_sleep(0.3)")
