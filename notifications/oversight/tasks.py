"""Telling people what does not arrive: in the log, once an hour for each target; in a digest to the
staff of what needs a person, once a day; and to the owner of an endpoint that fails, before it is
disabled.
"""

import logging

from celery import shared_task
from django.conf import settings
from uuid_utils.compat import uuid7

from notifications import events
from notifications.models import Alert, Endpoint
from notifications.oversight.digest import Matter, matters
from notifications.oversight.trouble import Trouble, troubles
from notifications.oversight.warning import warn

log = logging.getLogger(__name__)


@shared_task
def tell_of_trouble() -> None:
    """Log an ERROR for each target that fails, and send the staff a digest by each channel that
    works, if one is due.
    """
    found = troubles()
    Alert.objects.forget([trouble.target for trouble in found])
    to_tell = Alert.objects.take({trouble.target: trouble.news_at for trouble in found})
    for trouble in found:
        if trouble.target in to_tell:
            log.error("Not delivered: %s", trouble, extra={"fields": _fields(trouble)})
    if (settings.REPORT_EMAILS or settings.STAFF_CHAT_URL) and Alert.objects.is_digest_due():
        _tell_staff(found, matters())


def by_mail(trouble: Trouble) -> bool:
    """Whether the staff can be mailed of it: not of trouble with mails."""
    return bool(settings.REPORT_EMAILS) and trouble.channel != "mail"


def by_chat(trouble: Trouble) -> bool:
    """Whether the staff's chat can be told of it: not of trouble with the chat."""
    return bool(settings.STAFF_CHAT_URL) and trouble.channel != "chat"


@shared_task
def warn_owners() -> None:
    """Mail the owner of an endpoint that fails, once for each of ENDPOINT_WARNED_AT, and once when
    it is disabled.
    """
    for endpoint in Endpoint.objects.take_unwarned(limit=settings.TELL_AT_ONCE):
        warn(endpoint)


def _tell_staff(found: list[Trouble], others: dict[str, Matter]) -> None:
    """Record the digest of all that is open, if anything of it that the staff can be told is news
    since the last one.
    """
    heard = [trouble for trouble in found if by_mail(trouble) or by_chat(trouble)]
    news = [one.news_at for one in heard] + [one.news_at for one in others.values()]
    if not (news and Alert.objects.take_digest(max(news))):
        return
    rows = [_facts(trouble) for trouble in found[: settings.TROUBLES_SHOWN]]
    data = {
        "troubles": rows,
        "more": len(found) - len(rows),
        **{name: {"count": one.count, "rows": one.rows} for name, one in others.items()},
        "mail": {
            "to": settings.REPORT_EMAILS if others or any(map(by_mail, found)) else [],
            "language": settings.LANGUAGE_CODE,
        },
        "chat": bool(settings.STAFF_CHAT_URL) and bool(others or any(map(by_chat, found))),
    }
    events.record("deliveries.failing", subject=uuid7(), seq=1, owner=None, data=data)


def _facts(trouble: Trouble) -> dict[str, object]:
    return {**_fields(trouble), "host": trouble.host, "said": trouble.last_answer}


def _fields(trouble: Trouble) -> dict[str, object]:
    return {
        "channel": trouble.channel,
        "target": trouble.target,
        "given_up": trouble.given_up,
        "overdue": trouble.overdue,
    }
