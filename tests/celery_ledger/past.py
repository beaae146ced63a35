"""Makes a ledger with a past: rows as a shop leaves them, written in bulk by Postgres itself."""

from django.db import connection

CLIENTS, STEPS = 20, 8  # clients that order, and jobs of one order
ENVELOPE = """{"chain": null, "chord": null, "callbacks": null, "errbacks": null, "headers": {
"group": null, "shadow": null, "expires": null, "timelimit": [25, 20], "group_index": null,
"ignore_result": false, "stamps": {}, "stamped_headers": null, "replaced_task_nesting": 0}}"""
OWNER = f"'0198f3a1-0000-7000-8000-' || lpad(mod(n, {CLIENTS})::text, 12, '0')"
CONTEXT = f"""jsonb_build_object(
       'client', {OWNER},
       'request_id', md5((n / {STEPS})::text),
       'traceparent', '00-' || md5(n::text) || '-b7ad6b7169203331-01')"""

# One dead and one cancelled job in a thousand, the newest ended a minute ago.
FINISHED = f"""
INSERT INTO celery_ledger_job (id, task, queue, args, envelope, owner, context, root_id, parent_id,
                               state, due_at, ring_at, rings, attempts, retries, losses,
                               token, worker, pid, started_at, result, created_at, finished_at)
SELECT gen_random_uuid(), 'orders.tasks.step_' || mod(n, {STEPS}), 'kaiten',
       '[["0198f3a1-0000-7000-8000-000000000000"], {{}}]', '{ENVELOPE}',
       {OWNER}, {CONTEXT},
       gen_random_uuid(), CASE WHEN mod(n, {STEPS}) > 0 THEN gen_random_uuid() END,
       CASE mod(n, 1000) WHEN 0 THEN 'dead' WHEN 1 THEN 'cancelled' ELSE 'done' END,
       began, began + interval '5 s', 0, 1, 0, 0,
       gen_random_uuid(), gen_random_uuid(), 17, began, 'null', began, began + interval '0.1 s'
  FROM (SELECT n, now() - interval '1 minute' - (%(newest)s - n) * interval '1 s' AS began
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n) AS past
"""

WAITING = f"""
INSERT INTO celery_ledger_job (id, task, queue, args, envelope, root_id, parent_id, state,
                               due_at, ring_at, rings, attempts, retries, losses, owner, context)
SELECT gen_random_uuid(), 'tests.celery_ledger.tasks.add', %(queue)s, '[[1, 2], {{}}]',
       '{ENVELOPE}', gen_random_uuid(),
       CASE WHEN mod(n, {STEPS}) > 0 THEN gen_random_uuid() END, 'waiting',
       clock_timestamp() + %(due)s::interval, clock_timestamp() + %(rings)s::interval,
       0, 0, 0, 0, {OWNER}, {CONTEXT}
  FROM generate_series(1, %(number)s::bigint) AS n
"""


def finish(number: int, *, at_once: int = 100_000) -> None:
    """Write so many finished jobs, a second apart, and delete all others; in statements short
    enough for the role's limits. Their pages are new: how many are looked at depends on no test
    before.
    """
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE celery_ledger_job CASCADE")
        for first in range(1, number + 1, at_once):
            last = min(first + at_once - 1, number)
            cursor.execute(FINISHED, {"first": first, "last": last, "newest": number})


def promise(number: int, *, due: str = "0 s", rings: str = "5 s", queue: str = "kaiten") -> None:
    """Write so many waiting jobs, without bells. `due` and `rings` are intervals from now."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"number": number, "due": due, "rings": rings, "queue": queue})
