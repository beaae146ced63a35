"""What processes have had of the processors, which other work on the machine hardly changes."""

import os
from pathlib import Path

from django.db import connection

from tests.promises.processes import children_of

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def of_process(pid: int) -> float:
    """In seconds; nothing of one that has gone."""
    return sum(_ticks(pid)[:2]) / TICKS_A_SECOND


def of_tree(pid: int) -> float:
    return of_process(pid) + sum(map(of_tree, children_of(pid)))


def of_tree_and_its_dead(pid: int) -> float:
    """With the children that this process has buried."""
    return of_tree(pid) + sum(_ticks(pid)[2:]) / TICKS_A_SECOND


def of_postgres() -> float:
    """Of the server and all its sessions that live, and of those that it has buried."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [backend] = cursor.fetchone()
    server = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    return of_tree_and_its_dead(server)


def _ticks(pid: int) -> list[int]:
    """Its own two, then those of its buried children: utime, stime, cutime, cstime."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [0, 0, 0, 0]
    return [int(field) for field in fields[11:15]]
