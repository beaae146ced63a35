"""`python -m tests.bench.pressure.reader stats|list|count`: the ledger is read all the time, with a
dot for each reading.
"""

import sys

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

NOWHERE = open("/dev/null", "w")  # noqa: SIM115  # as long as this process lives


def read(what: str) -> None:
    if what == "count":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM celery_ledger_job")
    else:
        call_command("jobs", what, stdout=NOWHERE)


if __name__ == "__main__":
    while True:
        read(sys.argv[1])
        sys.stdout.write(".")
        sys.stdout.flush()
