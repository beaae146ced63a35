"""What a provider of mail reports of mails that it has taken: who is not to be mailed again."""

from collections.abc import Iterable
from typing import Protocol

from django.db import transaction

from celery_ledger import scrubbed
from notifications.mail.answers.refusal import in_a_line, reports_no_mailbox
from notifications.models import Suppression
from values.addresses import mailbox

NOT_DELIVERED = ("bounced", "rejected")
COMPLAINED = "complained"


class Report(Protocol):
    """An event as django-anymail normalizes it, of which kind soever."""

    event_type: str
    recipient: object  # an address, unless the provider errs
    mta_response: object  # what the far mail server has said, as the provider words it


@transaction.atomic
def record(reports: Iterable[Report]) -> int:
    """Put on the list whoever has complained and where the far server knows no mailbox: how many
    came on it. Anything else, and a report that was heard before, changes nothing.
    """
    found: dict[str, tuple[str, str]] = {}
    for report in reports:
        why, address = _why(report), _address(report)
        if why and address and found.get(address, ("", ""))[0] != Suppression.Why.COMPLAINED:
            found[address] = (why, scrubbed(in_a_line(_text(report.mta_response))))
    added = [
        Suppression.objects.add(address, why=why, said=said)
        for address, (why, said) in sorted(found.items())  # in one order, whoever else adds some
    ]
    return sum(added)


def _why(report: Report) -> str | None:
    if report.event_type == COMPLAINED:
        return Suppression.Why.COMPLAINED
    if report.event_type in NOT_DELIVERED and reports_no_mailbox(_text(report.mta_response)):
        return Suppression.Why.BOUNCED
    return None


def _address(report: Report) -> str | None:
    try:
        return mailbox(_text(report.recipient))
    except ValueError:
        return None


def _text(said: object) -> str:
    return said if isinstance(said, str) else ""
