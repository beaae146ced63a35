"""Whether everybody is told who should be: statements, each under the sentence that a row of it
fills in. Every row that comes back is wrong.
"""

from django.conf import settings

from celery_ledger import Job
from notifications.oversight.trouble import interval, statement

_DELIVERIES = {
    "event %s (%s): not everybody was told of it, and no job is on its way": """
        SELECT e.id, e.kind FROM notifications_event e
         WHERE coalesce(e.recorded_at, e.at) > now() - {kept}
           AND NOT EXISTS (SELECT 1 FROM {jobs} j WHERE j.task = 'notifications.tasks.announce'
                              AND j.state IN ('waiting', 'running', 'dead')
                              AND j.args -> 0 ->> 0 = e.id::text)
           AND (e.mails > (SELECT count(*) FROM notifications_delivery d
                            WHERE d.event_id = e.id AND d.channel = 'mail')
            OR NOT EXISTS (SELECT 1 FROM notifications_delivery d WHERE d.event_id = e.id)
            AND EXISTS (SELECT 1 FROM notifications_endpoint p
                        WHERE (p.owner = e.owner OR e.kind = 'stock.low') AND p.active
                          AND p.disabled_at IS NULL
                          AND p.listens_since < e.at - {longest}
                          AND (e.kind = ANY(p.events) OR '*' = ANY(p.events))))
         ORDER BY e.at""",
    "delivery %s (%s to %s) waits, and no job is on its way": """
        SELECT d.id, d.channel, d.target FROM notifications_delivery d
         WHERE d.state = 'waiting'
           AND NOT EXISTS (SELECT 1 FROM {jobs} j
                            WHERE (starts_with(j.task, 'notifications.tasks.send_')
                                   OR j.task IN ('notifications.tasks.post_webhook',
                                                 'notifications.tasks.line_up',
                                                 'notifications.tasks.give_up'))
                              AND j.state IN ('waiting', 'running')
                              AND j.args -> 0 ->> 0 = d.id::text)
         ORDER BY d.created_at""",
    "delivery %s (%s to %s) was asked for again, and no job is on its way": """
        SELECT d.id, d.channel, d.target FROM notifications_delivery d
         WHERE d.resend
           AND NOT EXISTS (SELECT 1 FROM {jobs} j
                            WHERE j.task = 'notifications.tasks.resend'
                              AND j.state IN ('waiting', 'running', 'dead')
                              AND j.args -> 0 ->> 0 = coalesce(d.endpoint_id::text, ''))
         ORDER BY d.created_at""",
    "%s %s: given up in the last days %s, and overdue %s": """
        SELECT channel, target, given_up, overdue FROM ({trouble}) AS trouble""",
    "subject %s: its newest event is number %s, but it has %s": """
        SELECT subject, max(seq), count(*) FROM notifications_event GROUP BY subject
        HAVING max(seq) <> count(*) ORDER BY subject""",
}
# For so long a transaction may be open (docs/invariants.md, I13). Until it has ended, no event
# knows of an endpoint that begins to listen in it.
LONGEST = "interval '60 seconds'"
# Of an older event nobody can say: its deliveries may be forgotten, a moment ago as well.
KEPT = interval(settings.DELIVERY_KEEP - settings.CHANGES_SETTLE)
DELIVERIES = {
    sentence: sql.replace("{jobs}", Job._meta.db_table)
    .replace("{longest}", LONGEST)
    .replace("{kept}", KEPT)
    .replace("{trouble}", statement())
    for sentence, sql in _DELIVERIES.items()
}
