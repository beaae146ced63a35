"""What must be true of our books, and of ours and everybody else's together. Each audit must return
no row.

The tables that are not ours are described in `evidence`.
"""

TALLIES = """
WITH job AS MATERIALIZED (
    SELECT id, state, started_at, due_at, (args -> 0 ->> 0)::int AS number FROM celery_ledger_job
     WHERE task LIKE 'tests.promises.chaos.tasks.tally%' AND NOT unreachable
)"""

LEDGER = {
    "I1 an accepted order has its row, its event and its first job": """
        SELECT o.id FROM orders_order o
         WHERE NOT EXISTS (SELECT 1 FROM notifications_event e WHERE e.subject = o.id AND e.seq = 1)
            OR NOT EXISTS (SELECT 1 FROM celery_ledger_job j
                            WHERE j.task LIKE 'orders.tasks.reserve%'
                              AND j.args -> 0 ->> 0 = o.id::text)""",
    "I2 done means exactly one effect, anything else none": f"""{TALLIES}
        SELECT job.id, job.state, count(t.number) FROM job LEFT JOIN tally t USING (number)
         GROUP BY job.id, job.state
        HAVING count(t.number) <> CASE job.state WHEN 'done' THEN 1 ELSE 0 END""",
    "I2 what was promised has happened, or died": f"""{TALLIES}
        SELECT p.number FROM promised p LEFT JOIN tally t USING (number)
         WHERE p.certain AND t.number IS NULL
           AND NOT EXISTS (SELECT 1 FROM promised q JOIN job USING (number)
                            WHERE q.company = p.company AND job.state = 'dead')""",
    "I2 no step of an order happened twice": """
        SELECT subject, kind, count(*) FROM notifications_event
         WHERE kind NOT IN ('order.held', 'order.released') GROUP BY 1, 2 HAVING count(*) > 1""",
    "I3 nothing runs any more": """
        SELECT id, task, worker, lease_until FROM celery_ledger_job WHERE state = 'running'""",
    "I4 what was finished stayed as it was": """
        SELECT s.id, j.state FROM seen_job s LEFT JOIN celery_ledger_job j ON j.id = s.id::uuid
         WHERE j.id IS NULL OR md5(j::text) <> s.digest""",
    "I5 nothing due waits any more": """
        SELECT id, task, due_at, ring_at, rings, error FROM celery_ledger_job
         WHERE state = 'waiting' AND due_at < now()""",
    "I5 no due job waited long beside an idle process": "SELECT * FROM left_alone",
    "I6 what was lost has run again": """
        SELECT id, task, attempts, losses FROM celery_ledger_job
         WHERE state = 'done' AND attempts <= losses""",
    "I7 a job that cost three workers is dead": """
        SELECT id, task FROM celery_ledger_job WHERE state <> 'dead' AND losses >= 3""",
    "I7 no other job is dead, unless its time ran out": """
        SELECT id, task, losses, error FROM celery_ledger_job
         WHERE state = 'dead' AND losses < 3 AND NOT unreachable
           AND coalesce(error ->> 'type', '') NOT IN ('SoftTimeLimitExceeded', 'ChordError')""",
    "nobody stood in line beside a free place": "SELECT * FROM stood_in_line",
    "no more of one task ran at once than may": "SELECT * FROM crowded",
    "I14 nothing ran that nobody promised": f"""{TALLIES}
        SELECT t.number FROM tally t LEFT JOIN job USING (number) WHERE job.id IS NULL
        UNION ALL
        SELECT job.number FROM job LEFT JOIN promised p USING (number) WHERE p.number IS NULL""",
    "I14 no bell made a job begin before it was due": """
        SELECT id, task, due_at, started_at FROM celery_ledger_job
         WHERE state = 'done' AND started_at < due_at""",
}

SHOP = {
    "I1 what a customer was told is in our books": """
        SELECT t.key, t.order_id FROM told t JOIN asked a USING (key)
          LEFT JOIN orders_order o ON o.id::text = t.order_id
         WHERE t.status = 202 AND (o.id IS NULL OR o.external_id <> t.key OR o.total <> a.total)""",
    "I8 one charge per order": """
        SELECT order_id, count(*) FROM provider_charge WHERE status = 'succeeded'
         GROUP BY 1 HAVING count(*) > 1""",
    "I8 what was paid elsewhere is noted once, and pays its order": """
        SELECT o.number, o.state, o.captured, count(p.id) FROM orders_order o
          LEFT JOIN orders_paymentoperation p
            ON p.order_id = o.id AND p.kind = 'charge' AND p.state = 'succeeded'
         WHERE o.payment_method <> 'card' AND NOT o.held GROUP BY o.id
        HAVING count(p.id) > 1 OR bool_or(p.provider <> 'elsewhere')
            OR o.captured <> CASE count(p.id) WHEN 0 THEN 0 ELSE o.total END""",
    "I8 the provider gave back only what we promised": """
        SELECT r.key FROM provider_refund r LEFT JOIN orders_paymentoperation p ON p.key = r.key
         WHERE p.id IS NULL OR p.kind <> 'refund'
            OR p.amount <> r.amount OR p.currency <> r.currency""",
    "I8 the provider knows no charge that is not ours": """
        SELECT c.key FROM provider_charge c LEFT JOIN orders_paymentoperation p ON p.key = c.key
         WHERE p.id IS NULL OR p.order_id::text <> c.order_id
            OR p.amount <> c.amount OR p.currency <> c.currency""",
    "I8 our books and the provider's say the same": """
        SELECT o.number, o.captured, o.refunded, c.amount, r.amount FROM orders_order o
          LEFT JOIN (SELECT order_id, max(amount) AS amount FROM provider_charge
                      WHERE status = 'succeeded' GROUP BY 1) c
            ON c.order_id = o.id::text
          LEFT JOIN (SELECT p.order_id, sum(given.amount) AS amount FROM provider_refund given
                       JOIN orders_paymentoperation p USING (key)
                      WHERE given.status = 'succeeded' GROUP BY 1) r
            ON r.order_id = o.id
         WHERE NOT o.held AND o.payment_method = 'card'
           AND (o.captured <> coalesce(c.amount, 0)
                OR o.refunded <> coalesce(r.amount, 0))""",
    "I8 whoever cancelled has paid nothing": """
        SELECT number, captured, refunded FROM orders_order
         WHERE NOT held AND state = 'cancelled' AND captured <> refunded""",
    "I8 no movement of money is unknown unless a person looks at it": """
        SELECT p.key, p.state, said.status
          FROM orders_paymentoperation p JOIN orders_order o ON o.id = p.order_id
          LEFT JOIN (SELECT key, status FROM provider_charge
                      UNION ALL SELECT key, status FROM provider_refund) said
            ON said.key = p.key
         WHERE NOT o.held AND p.provider <> 'elsewhere'
           AND nullif(p.state, 'void') IS DISTINCT FROM said.status""",
    "I9 stock is the sum of its movements": """
        SELECT s.sku FROM orders_stock s LEFT JOIN orders_stockmovement m ON m.stock_id = s.id
         GROUP BY s.id
        HAVING s.on_hand <> coalesce(sum(m.on_hand_delta), 0)
            OR s.reserved <> coalesce(sum(m.reserved_delta), 0)""",
    "I9 what is reserved belongs to orders that hold it": """
        SELECT o.number FROM orders_order o
          JOIN (SELECT order_id, sum(quantity - fulfilled - withdrawn) AS wanted
                  FROM orders_orderline GROUP BY 1) l ON l.order_id = o.id
          LEFT JOIN (SELECT order_id, sum(reserved_delta) AS held
                       FROM orders_stockmovement GROUP BY 1) m
            ON m.order_id = o.id
         WHERE coalesce(m.held, 0)
               <> CASE WHEN o.state IN ('reserved', 'confirmed') THEN l.wanted ELSE 0 END""",
    "I9 whoever got a part has paid for that part": """
        SELECT o.number, o.captured, o.refunded, l.fulfilled, l.returned, l.quantity
          FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
         WHERE NOT o.held AND o.state = 'completed'
           AND (o.captured - o.refunded
                  <> o.total * (l.quantity - l.units_refunded) / l.quantity
                OR l.units_refunded NOT BETWEEN l.withdrawn AND l.withdrawn + l.returned
                OR l.quantity <> l.fulfilled + l.withdrawn)""",
    "I9 a return has come back as it was announced": """
        SELECT o.number, l.announced, l.returned, came.state FROM orders_return came
          JOIN orders_order o ON o.id = came.order_id JOIN orders_orderline l ON l.order_id = o.id
         WHERE came.reason <> 'withdrawn'
           AND (l.returned <> 1 OR l.announced <> 0 OR came.state <> 'received')""",
    "I10 every order has ended or is on hold with a reason": """
        SELECT number, state, held, hold_reason FROM orders_order
         WHERE CASE WHEN held THEN hold_reason = ''
                    ELSE state NOT IN ('confirmed', 'completed', 'cancelled') END""",
    "I10 every order ended as its card says, or as its customer": """
        SELECT o.number, o.state, a.token FROM orders_order o JOIN asked a ON a.key = o.external_id
         WHERE NOT o.held
           AND (o.state = 'cancelled' OR o.reason IN ('regretted', 'withdrawn'))
               <> (a.regretted OR a.token IN ('pm_card_chargeDeclined', 'tok_declined'))""",
    "I2 who withdrew from one unit has withdrawn from one": """
        SELECT o.number, l.withdrawn, l.announced FROM withdrew_from_one one
          JOIN orders_order o ON o.external_id = one.key
          JOIN orders_orderline l ON l.order_id = o.id
         WHERE l.withdrawn <> 1 OR l.announced <> 0 OR o.state <> 'confirmed'""",
    "I12 same key, same answer, one order": """
        SELECT key, count(DISTINCT order_id), count(DISTINCT digest) FROM told
         WHERE status = 202 GROUP BY 1
        HAVING count(DISTINCT order_id) > 1 OR count(DISTINCT digest) > 1""",
    "I12 no order that nobody asked for": """
        SELECT o.number, o.external_id
          FROM orders_order o LEFT JOIN asked a ON a.key = o.external_id
         WHERE a.key IS NULL""",
    "an answer is 202, or says to come again": """
        SELECT status, count(*), min(key)
          FROM (SELECT key, status FROM told UNION ALL SELECT key, status FROM told_of_regret) said
         WHERE status NOT IN (202, 409, 503) GROUP BY 1""",
    "when all is well every key is answered": "SELECT key FROM unanswered",
    "the version of an order counts its events": """
        SELECT o.number FROM orders_order o LEFT JOIN notifications_event e ON e.subject = o.id
         GROUP BY o.id HAVING o.version <> count(e.id) OR o.version <> max(e.seq)""",
    "I16 an order is as its newest event shows it": """
        SELECT o.number, e.kind FROM orders_order o
          JOIN notifications_event e ON e.subject = o.id AND e.seq = o.version
         CROSS JOIN LATERAL jsonb_to_record(e.data -> 'order') AS told
               (state text, payment_state text, captured bigint, refunded bigint,
                refund_pending bigint)
         WHERE (o.state, o.payment_state, o.captured, o.refunded, o.refund_pending)
               IS DISTINCT FROM (told.state, told.payment_state, told.captured, told.refunded,
                                 told.refund_pending)""",
}

ABOUT_PEOPLE = {
    "who was erased is named nowhere": """
        SELECT f.said, kept.place FROM forgotten f
          JOIN (SELECT 'order' AS place, lower(o::text) AS words FROM orders_order o
                 UNION ALL SELECT 'event', lower(e::text) FROM notifications_event e
                 UNION ALL SELECT 'delivery', lower(d::text) FROM notifications_delivery d
                 UNION ALL SELECT 'answer', lower(k.body) FROM orders_idempotencykey k
                 UNION ALL SELECT 'erasure', lower(x::text) FROM orders_erasure x
                 UNION ALL SELECT 'job', lower(j::text) FROM celery_ledger_job j
                 UNION ALL SELECT 'export', lower(convert_from(p.content, 'UTF8'))
                             FROM orders_exportpart p) kept
            ON position(f.said IN kept.words) > 0""",
    "an export was written, and another shop could take it in": """
        SELECT * FROM exported WHERE state <> 'done' OR orders <> total OR failed > 0""",
}

# events of orders of which somebody was erased: they are told otherwise from then on
ERASED = """
    SELECT e.id FROM notifications_event e JOIN notifications_event erased USING (subject)
     WHERE erased.kind = 'order.erased'"""
TELLING = {
    "I11 every event is on its way to everybody who wants it": """
        SELECT e.id, e.kind, want.channel, want.target FROM notifications_event e
         CROSS JOIN LATERAL (
               SELECT 'webhook' AS channel, p.id::text AS target
                 FROM notifications_endpoint p WHERE p.owner = e.owner
               UNION ALL SELECT 'mail', e.data -> 'order' ->> 'email'
                WHERE e.kind IN ('order.received', 'order.confirmed', 'order.withdrawn',
                                 'order.fulfilled', 'order.refunded', 'order.return_received')
                   OR ((e.data #>> '{order,withdrawal}' IS NULL
                        OR e.data #>> '{order,reason}' <> 'withdrawn')
                       AND (e.kind = 'order.cancelled'
                            OR e.kind = 'order.completed'
                               AND e.data #>> '{order,reason}' IS NOT NULL))) want
          LEFT JOIN notifications_delivery d
            ON d.event_id = e.id AND d.channel = want.channel AND d.target = want.target
         WHERE d.id IS NULL
           AND NOT (want.channel = 'mail' AND want.target = '' AND EXISTS (
                SELECT FROM notifications_event erased WHERE erased.subject = e.subject
                   AND erased.kind = 'order.erased' AND erased.seq < e.seq))""",
    "I11 every delivery has arrived": """
        SELECT d.id, d.channel, d.state, d.tries FROM notifications_delivery d
         WHERE d.state <> 'delivered' AND d.target <> ''
           AND NOT EXISTS (SELECT 1 FROM celery_ledger_job j
                            WHERE j.state = 'dead' AND j.args -> 0 ->> 0 = d.id::text)""",
    "I11 what we call delivered was taken by the webhook server": """
        SELECT d.id FROM notifications_delivery d
         WHERE d.channel = 'webhook' AND d.state = 'delivered'
           AND d.id::text NOT IN (SELECT delivery FROM heard_webhook
                                   WHERE status BETWEEN 200 AND 299)""",
    "I11 what we call delivered was taken by the mail server": """
        SELECT d.id FROM notifications_delivery d WHERE d.channel = 'mail' AND d.state = 'delivered'
           AND d.id::text NOT IN (SELECT delivery FROM heard_mail WHERE taken)""",
    "I11 no webhook was heard that is not ours": """
        SELECT h.delivery, h.kind, h.seq FROM heard_webhook h
          LEFT JOIN notifications_delivery d ON d.id::text = h.delivery AND d.channel = 'webhook'
          LEFT JOIN notifications_event e ON e.id = d.event_id
         WHERE e.id IS NULL OR e.kind <> h.kind OR e.seq <> h.seq""",
    "I11 no mail was heard that is not ours": """
        SELECT h.delivery, h.target FROM heard_mail h
          LEFT JOIN notifications_delivery d ON d.id::text = h.delivery AND d.channel = 'mail'
         WHERE d.id IS NULL OR d.target NOT IN (h.target, '')""",
    "I11 every try of a webhook had the same bytes": f"""
        SELECT delivery, count(DISTINCT digest) FROM heard_webhook
         WHERE delivery NOT IN (SELECT id::text FROM notifications_delivery
                                 WHERE event_id IN ({ERASED}))
         GROUP BY 1 HAVING count(DISTINCT digest) > 1""",
    "I11 every try of a mail said the same": """
        SELECT delivery, count(DISTINCT digest) FROM heard_mail
         GROUP BY 1 HAVING count(DISTINCT digest) > 1""",
    "every webhook was signed": "SELECT delivery FROM heard_webhook WHERE NOT signed",
}

MACHINERY = {
    "I13 no transaction was older than 60 s": "SELECT age_s, what FROM old_transaction",
    "I13 no socket was opened inside a transaction": """
        SELECT target, count(*) FROM socket_in_transaction GROUP BY 1""",
    "no process ended by itself": "SELECT place, said FROM ended_by_itself",
}

AUDITS = {**LEDGER, **SHOP, **ABOUT_PEOPLE, **TELLING, **MACHINERY}
