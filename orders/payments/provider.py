"""What Kaiten asks of a payment provider. Each provider is one module behind this door."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

ELSEWHERE = "elsewhere"  # no provider: money moves past all of them, and is noted
# loaded when first asked for, since a provider may need a package that others do without
PROVIDERS = {
    "sandbox": "orders.payments.sandbox.Sandbox",
    "stripe": "orders.payments.stripe.Stripe",
}
# providers that ring at our door
EVENT_READERS = {"stripe": "orders.payments.stripe_events.reader"}
# providers that do not move every amount
AMOUNT_RULES = {"stripe": "orders.payments.stripe_amounts.objection"}


class ChargeStatus(StrEnum):
    SUCCEEDED = "succeeded"
    PENDING = "pending"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Intent:
    """A charge or refund to make or find: integer minor units, and the key under which the provider
    makes it once.
    """

    key: str
    amount: int
    currency: str
    token: str
    intended_at: datetime  # no provider has made it before
    reference: str = ""  # the provider's id of it, once we know it
    return_url: str = ""  # where a page of the bank leads its customer back to
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge, or a refund, as the provider's book has it."""

    id: str
    key: str
    amount: int
    currency: str
    status: ChargeStatus
    reason: str = ""
    action_required: bool = False  # pending until the customer does something
    # what that is: its `type`, a `url` where it is done, a `client_secret`; no log may have it
    action: dict[str, str | None] | None = field(default=None, repr=False)
    # while it is pending: until when the money may still come, where that is long
    may_take_until: datetime | None = None
    still_payable: bool = False  # declined, and whoever has its client_secret could still pay it
    # ids, the newest first: how often the customer has asked the bank to take the money back
    disputes: tuple[str, ...] = ()
    refunded: int | None = None  # of a charge, by whatever way; None where the book does not say
    refunds: "tuple[Charge, ...]" = ()  # of a charge: those that nobody here has asked for


@dataclass(frozen=True, slots=True)
class Taken:
    """A charge that succeeded, whoever asked for it; `operation` is ours that it names, if any."""

    id: str
    amount: int
    currency: str
    made_at: datetime
    operation: UUID | None = None


class ProviderUnavailable(Exception):
    """The provider gave no answer, or none to rely on: the charge may exist or not. Ask `find`
    before all else.
    """


class ProviderRefused(Exception):
    """The provider will not take what we send, today or tomorrow: a person has to mend a setting or
    the order. An order that another token could pay is none of these: its charge is declined.
    """


class Provider(Protocol):
    name: str

    def charge(self, intent: Intent) -> Charge:
        """Make the charge, once per key. Opens a socket; raises ProviderUnavailable and
        ProviderRefused.
        """

    def find(self, intent: Intent) -> Charge | None:
        """The charge made for this intent, if any. Opens a socket; raises ProviderUnavailable and
        ProviderRefused.
        """

    def call_off(self, intent: Intent) -> Charge | None:
        """End a charge that its customer could still pay. Returns what became of it; None where
        none was made. As `find`.
        """

    def refund(self, intent: Intent) -> Charge:
        """Give money of the charge `intent.token` back, once per key. As `charge`."""

    def find_refund(self, intent: Intent) -> Charge | None:
        """The refund made for this intent, if any. As `find`."""

    def taken(self, since: datetime) -> Iterator[Taken]:
        """All money that it has taken since then, the newest first. As `find`."""


def provider(name: str | None = None) -> Provider:
    """The provider of this name, or the one that PAYMENT_PROVIDER names."""
    made: Provider = import_string(PROVIDERS[name or settings.PAYMENT_PROVIDER])()
    return made


def amount_objection(amount: int, currency: str, name: str | None = None) -> str | None:
    """Why this provider, or the one that PAYMENT_PROVIDER names, will never move this amount; None
    when it can. Asked at the door, so that nobody waits for money that cannot come.
    """
    rule = AMOUNT_RULES.get(name or settings.PAYMENT_PROVIDER)
    return import_string(rule)(amount, currency) if rule else None


@dataclass(frozen=True, slots=True)
class EventNotice:
    """What a provider's event is about, by whatever it names: our key, our operation, or the
    provider's own id.
    """

    event_id: str
    kind: str = ""
    key: str = ""
    operation: UUID | None = None
    reference: str = ""


class NotFromProvider(Exception):
    """Whoever sent this event has not shown that it is the provider; the text says why."""


class NoEvent(Exception):
    """The provider has sent and signed it, and it is nothing that we can read as an event."""


EventReader = Callable[[bytes, Mapping[str, str]], EventNotice]


def event_reader(name: str) -> EventReader | None:
    """The function that reads this provider's events from body and headers, and raises
    NotFromProvider and NoEvent; None for a provider without a door.

    The sandbox has none: it knocks in-process, and a door for unsigned events would only be there
    for strangers.
    """
    if name not in EVENT_READERS:
        return None
    reader: EventReader | None = import_string(EVENT_READERS[name])()
    return reader
