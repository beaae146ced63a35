"""Tasks that nothing but the ledger protects from happening twice: their effect has no unique
constraint. Of one only PLACES run at once.
"""

from celery import shared_task
from django.db import connection

PLACES = 2
TABLE = "CREATE TABLE tally (number int)"


@shared_task  # with the usual time limits, so that a lease that nobody ended runs out soon
def tally(number: int) -> None:
    _count(number)


@shared_task(concurrency=PLACES)
def tally_in_line(number: int) -> None:
    _count(number)


def _count(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])
        cursor.execute("SELECT pg_sleep(0.3)")
