"""What processes have had of the processors, which other work on the machine hardly changes."""

import os
from pathlib import Path

from django.db import connection

from tests.promises.processes import children_of

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def of_process(pid: int) -> float:
    """In seconds; nothing of one that has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / TICKS_A_SECOND  # utime, stime


def of_tree(pid: int) -> float:
    return of_process(pid) + sum(map(of_tree, children_of(pid)))


def of_postgres() -> float:
    """Of the server and all its sessions that live, and of those that it has buried."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [backend] = cursor.fetchone()
    server = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return of_tree(server) + sum(map(int, fields[13:15])) / TICKS_A_SECOND  # cutime, cstime
