"""What does not arrive, by target: deliveries that were given up or are overdue, and endpoints that
fail or are disabled. A person has to look at each.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from celery_ledger import Job

# Deliveries of the last days, the newest METRICS_ROWS_MAX. Nobody misses a test, what a removed
# endpoint has not heard, a mail to somebody who wants to be forgotten, or what its owner has
# cancelled; nor a mail to an address on the list: people were told when it came there.
STATEMENT = """
WITH found AS (
    SELECT id, event_id, channel, endpoint_id, target, state, created_at, job,
           state = 'failed' AND suppressed AS unmailed,
           state = 'waiting' AND coalesce(resent_at, created_at) < now() - {overdue} AS overdue
      FROM notifications_delivery
     WHERE (state = 'failed' OR state = 'waiting' AND tries > 0)
       AND id >= (lpad(to_hex((extract(epoch FROM now() - {days}) * 1000)::bigint), 12, '0')
                  || repeat('0', 20))::uuid
     ORDER BY id DESC LIMIT {rows}
), missed AS (
    SELECT found.* FROM found
      JOIN notifications_event AS event ON event.id = event_id AND event.kind <> 'webhook.test'
      LEFT JOIN notifications_endpoint AS endpoint ON endpoint.id = endpoint_id
     WHERE (state = 'failed' OR overdue) AND target <> '' AND NOT unmailed
       AND coalesce(endpoint.active, channel <> 'webhook')
       AND endpoint.disabled_because IS DISTINCT FROM 'asked'
       AND NOT EXISTS (SELECT FROM {jobs} WHERE id = found.job AND state = 'cancelled')
), counted AS (
    SELECT coalesce(endpoint_id::text, channel) AS target, channel, endpoint_id,
           count(*) FILTER (WHERE state = 'failed') AS given_up,
           count(*) FILTER (WHERE overdue) AS overdue,
           min(created_at) AS since, (array_agg(id ORDER BY id DESC))[1] AS newest
      FROM missed GROUP BY 1, 2, 3
), endpoint AS (
    SELECT id, url, disabled_because, least(failing_since, disabled_at) AS since, disabled_at
      FROM notifications_endpoint
     WHERE (failing_since IS NOT NULL OR disabled_at IS NOT NULL) AND active
       AND disabled_because <> 'asked'
       AND (disabled_at > now() - {days} OR failing_since < now() - {overdue})
)
SELECT coalesce(counted.target, endpoint.id::text) AS target,
       coalesce(counted.channel, 'webhook') AS channel,
       coalesce(substring(coalesce(endpoint.url, own.url) FROM '^[a-z]+://([^/?]+)'), '') AS host,
       coalesce(given_up, 0) AS given_up, coalesce(overdue, 0) AS overdue,
       least(counted.since, endpoint.since) AS since, coalesce(last.answer, '') AS last_answer,
       coalesce(endpoint.disabled_because, '') AS disabled_because,
       greatest(last.at, endpoint.disabled_at, counted.since, endpoint.since) AS news_at
  FROM counted FULL JOIN endpoint ON endpoint.id = counted.endpoint_id
  LEFT JOIN notifications_endpoint AS own ON own.id = counted.endpoint_id
  LEFT JOIN LATERAL (SELECT answer, at FROM notifications_attempt
                      WHERE delivery_id = counted.newest ORDER BY id DESC LIMIT 1) AS last ON true
 ORDER BY coalesce(given_up, 0) + coalesce(overdue, 0) DESC, 1
"""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One target, and what does not arrive there."""

    target: str  # another channel than "webhook", or an endpoint's id
    channel: str
    host: str  # of the endpoint
    given_up: int
    overdue: int
    since: datetime
    last_answer: str  # the other side's
    disabled_because: str
    news_at: datetime

    def __str__(self) -> str:
        """It in a line, naming nobody: an endpoint by its host and id."""
        is_webhook = self.channel == "webhook"
        name = f"webhooks to {self.host} ({self.target})" if is_webhook else self.channel
        facts = []
        if self.given_up:
            facts.append(f"{self.given_up} given up")
        if self.overdue:
            facts.append(f"{self.overdue} overdue")
        if self.disabled_because:
            facts.append(f"disabled: {self.disabled_because}")
        if self.last_answer:
            facts.append(f"the last answer: {self.last_answer}")
        return f"{name}: {', '.join(facts) or 'nothing arrives'}"


def troubles() -> list[Trouble]:
    """The TROUBLES_MAX largest, the largest first."""
    with connection.cursor() as cursor:
        cursor.execute(f"{statement()} LIMIT {settings.TROUBLES_MAX}")
        return [Trouble(*row) for row in cursor.fetchall()]


def statement() -> str:
    """The SQL of it, with its limits filled in."""
    return STATEMENT.format(
        overdue=interval(settings.DELIVERY_OVERDUE),
        days=interval(settings.DELIVERY_TOLD_FOR),
        rows=settings.METRICS_ROWS_MAX,
        jobs=Job._meta.db_table,
    )


def interval(length: timedelta) -> str:
    """It in SQL."""
    return f"interval '{length.total_seconds():.0f} seconds'"
