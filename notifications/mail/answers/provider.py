"""What a provider of mail reports of mails that it has taken: who is not to be mailed again."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from django.db import transaction

from celery_ledger import scrubbed
from notifications.mail.answers.refusal import in_a_line, reports_no_mailbox
from notifications.models import Suppression
from values.addresses import mailbox

NOT_DELIVERED = ("bounced", "rejected")
COMPLAINED = "complained"


class Report(Protocol):
    """An event of a provider as django-anymail normalizes it, whatever its type."""

    event_type: str
    recipient: object  # an address, unless the provider errs
    mta_response: object  # what the far mail server has said, as the provider words it


class _Finding(NamedTuple):
    """Of one address: why nothing is mailed there, and the far server's words."""

    why: str
    details: str


@transaction.atomic
def record(reports: Iterable[Report]) -> int:
    """Put on the list of those that are not mailed whoever has complained, and each address of
    which the far server knows no mailbox. Returns how many are new there: any other report, and one
    that came before, changes nothing.
    """
    found: dict[str, _Finding] = {}
    for report in reports:
        why, address = _why(report), _address(report)
        if why and address and not _has_complained(found.get(address)):
            found[address] = _Finding(why, scrubbed(in_a_line(_text(report.mta_response))))
    # sorted, so that two who add the same addresses never wait for each other in a circle
    added = [
        Suppression.objects.add(address, why=finding.why, details=finding.details)
        for address, finding in sorted(found.items())
    ]
    return sum(added)


def _has_complained(finding: _Finding | None) -> bool:
    return finding is not None and finding.why == Suppression.Why.COMPLAINED


def _why(report: Report) -> str | None:
    """A reason of Suppression; None of a report that is no reason."""
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


def _text(value: object) -> str:
    """What a provider sent, if it is a text, or else an empty one."""
    return value if isinstance(value, str) else ""
