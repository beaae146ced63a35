"""What Kaiten asks of a payment provider. Each provider is one module behind this door."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

PROVIDERS = {"sandbox": "orders.payments.sandbox.Sandbox"}


class ChargeStatus(StrEnum):
    SUCCEEDED = "succeeded"
    PENDING = "pending"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Intent:
    """A charge to make: integer minor units, and the key under which the provider makes it once."""

    key: str
    amount: int
    currency: str
    token: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge as the provider's book has it."""

    id: str
    key: str
    amount: int
    currency: str
    status: ChargeStatus
    reason: str = ""


class ProviderUnavailable(Exception):
    """No answer, or none to rely on: the charge may exist or not. Ask `find` before anything else."""


class Provider(Protocol):
    name: str

    def charge(self, intent: Intent) -> Charge:
        """Make the charge, once per key. Opens a socket; raises ProviderUnavailable."""

    def find(self, key: str) -> Charge | None:
        """The charge made under this key, if any. Opens a socket; raises ProviderUnavailable."""


def provider(name: str | None = None) -> Provider:
    """The provider of this name, or the one that PAYMENT_PROVIDER names."""
    made: Provider = import_string(PROVIDERS[name or settings.PAYMENT_PROVIDER])()
    return made
