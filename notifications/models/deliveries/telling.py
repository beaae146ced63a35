"""The statement that writes an event and a delivery to each who is told of it."""

from typing import NamedTuple
from uuid import UUID

# One statement writes an event and who is told of it: who is named, and whoever listens now. An id
# begins as the event's does, so that deliveries are ordered as their events are.
EVENT = """
event AS (
    INSERT INTO notifications_event (id, kind, subject, seq, owner, data, at, mails)
    SELECT %(event)s, %(kind)s, %(subject)s, %(seq)s, %(owner)s, %(data)s,
           coalesce(%(at)s::timestamptz, statement_timestamp()),
           count(DISTINCT name) FILTER (WHERE channel = 'mail')
      FROM unnest(%(channels)s::text[], %(names)s::text[]) AS named (channel, name)
), """
DELIVERIES = """
target AS (
    SELECT channel, name, NULL::uuid AS endpoint, %(owner)s::uuid AS owner, false AS in_trouble,
           false AS ordered
      FROM unnest(%(channels)s::text[], %(names)s::text[]) AS named (channel, name)
    UNION ALL
    SELECT 'webhook', id::text, id, owner, failures >= %(run)s, ordered
      FROM notifications_endpoint
     WHERE {whose} AND active AND disabled_at IS NULL AND events && ARRAY[%(kind)s, '*']
), delivery AS (
    INSERT INTO notifications_delivery
           (id, event_id, channel, target, endpoint_id, state, tries, job, subject, seq)
    SELECT overlay(gen_random_uuid()::text PLACING left(%(event)s::text, 23) FROM 1)::uuid,
           %(event)s, channel, name, endpoint, 'waiting', 0, gen_random_uuid(),
           CASE WHEN ordered THEN %(subject)s::uuid END, CASE WHEN ordered THEN %(seq)s::integer END
      FROM target
        ON CONFLICT DO NOTHING RETURNING id, channel, endpoint_id, job
)
SELECT delivery.id, delivery.job, delivery.channel, coalesce(in_trouble, false),
       coalesce(owner, %(owner)s)
  FROM delivery LEFT JOIN target ON target.endpoint = delivery.endpoint_id
 ORDER BY delivery.channel, delivery.endpoint_id
"""


class NewDelivery(NamedTuple):
    """A delivery that was just written, and the job that it will have."""

    id: UUID
    job: UUID
    channel: str
    in_trouble: bool  # its endpoint rests, and stands in nobody's way meanwhile
    owner: UUID | None  # whose job it will be
