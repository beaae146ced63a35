"""When people were last told of deliveries that do not arrive, so that they are not told again each
time that somebody looks.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, models
from django.db.models.functions import Now

# Of these targets those that are new, or were last told ALERT_REST ago and have news since. Of two
# who look at the same moment one gets a target.
TAKE = """
INSERT INTO notifications_alert AS alert (target, told_at)
SELECT target, now() FROM unnest(%(targets)s::text[], %(news)s::timestamptz[]) AS found (target, at)
 ORDER BY target
    ON CONFLICT (target) DO UPDATE SET told_at = now()
 WHERE alert.told_at <= now() - %(rest)s
   AND alert.told_at < (%(news)s::timestamptz[])[array_position(%(targets)s::text[], alert.target)]
RETURNING target
"""
TAKE_DIGEST = """
INSERT INTO notifications_alert AS alert (target, told_at, mailed_at)
VALUES (%(digest)s, now(), now())
    ON CONFLICT (target) DO UPDATE SET mailed_at = now()
 WHERE alert.mailed_at <= now() - %(rest)s AND alert.mailed_at < %(news)s
"""
DIGEST = "digest"


class AlertQuerySet(models.QuerySet["Alert"]):
    def take(self, news: dict[str, datetime]) -> set[str]:
        """Of these targets, each with the time of its news, those of which people are to be told
        now; the caller tells them.
        """
        values: dict[str, Any] = {
            "targets": [*news],
            "news": [*news.values()],
            "rest": settings.ALERT_REST,
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE, values)
            return {row[0] for row in cursor.fetchall()}

    def is_digest_due(self) -> bool:
        """Whether the last one was sent ALERT_MAIL_REST ago."""
        since = Now() - settings.ALERT_MAIL_REST
        return not self.filter(target=DIGEST, mailed_at__gt=since).exists()

    def digest_at(self) -> datetime | None:
        """When the last one was sent."""
        return self.filter(target=DIGEST).values_list("mailed_at", flat=True).first()

    def take_digest(self, news_at: datetime) -> bool:
        """Whether the caller is to send a digest now: the last one was sent ALERT_MAIL_REST ago,
        and before this news. Of two who ask at the same moment one is.
        """
        values: dict[str, Any] = {
            "digest": DIGEST,
            "news": news_at,
            "rest": settings.ALERT_MAIL_REST,
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE_DIGEST, values)
            return bool(cursor.rowcount)

    def forget(self, but: list[str]) -> None:
        """Delete all but these targets: the others are well again."""
        self.exclude(target__in=[*but, DIGEST]).delete()


class Alert(models.Model):
    target = models.TextField(primary_key=True)  # as a Trouble's, or DIGEST
    told_at = models.DateTimeField(db_default=Now())  # in the log
    mailed_at = models.DateTimeField(null=True)  # the digest, to the staff

    objects = AlertQuerySet.as_manager()

    def __str__(self) -> str:
        return self.target
