"""What Postgres does for a query: plans and buffers, which depend on the rows and not on how busy
the machine is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "(SELECT")


@dataclass(frozen=True)
class Plan:
    sql: str
    root: dict[str, Any]

    @property
    def buffers(self) -> int:
        """Pages of tables and indexes that were looked at, from memory or from disk."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def nodes(self) -> list[str]:
        """In the plan's order, e.g. ["LockRows", "Index Scan of job_created"]."""
        return [_named(node) for node in _walk(self.root)]

    def found_by(self, index: str) -> list[str]:
        """What each scan of that index looks up in it, e.g. "(sku = 'TAMAGO'::text)"."""
        scans = (node for node in _walk(self.root) if node.get("Index Name") == index)
        return [node.get("Index Cond", "") for node in scans]


def plans_of(do: Callable[[], Any]) -> list[Plan]:
    """Do it, and return the plan of each of its statements, as they ran with their own parameters.

    Each statement runs twice: explained, which is rolled back, and then for good.
    """
    plans: list[Plan] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.lstrip().startswith(EXPLAINED) and not sql.startswith(EXPLAIN):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(EXPLAIN + sql, params)
                [explained] = cursor.fetchone()[0]
                transaction.set_rollback(True)
            plans.append(Plan(sql, explained["Plan"]))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        do()
    return plans


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


def _named(node: dict[str, Any]) -> str:
    of = node.get("Index Name") or node.get("Relation Name")
    return f"{node['Node Type']} of {of}" if of else str(node["Node Type"])
