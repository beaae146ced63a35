"""How webhooks are signed (Standard Webhooks): `v1` by a secret that both sides know, and `v1a` by
an ed25519 key of which a receiver knows the public half. Both are derived, and stored nowhere.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import nacl.signing
from django.conf import settings
from standardwebhooks import Webhook


@dataclass(frozen=True)
class SigningKey:
    """One version of an endpoint's secret and its key pair, derived from WEBHOOK_MASTER_KEY."""

    endpoint: UUID
    version: int

    @property
    def secret(self) -> str:
        return f"whsec_{_base64(self._derived())}"

    @property
    def public(self) -> str:
        return f"whpk_{_base64(bytes(self._pair.verify_key))}"

    @property
    def jwk(self) -> dict[str, str]:
        """The public half as RFC 8037 writes it. It names no `alg`: what it signs is no JWS."""
        x = base64.urlsafe_b64encode(bytes(self._pair.verify_key)).rstrip(b"=").decode()
        kid = f"{self.endpoint}:{self.version}"
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "kid": kid}

    def sign(self, webhook_id: str, at: datetime, text: str) -> str:
        """The `v1` signature of this body, by the secret."""
        return str(Webhook(self.secret).sign(webhook_id, at, text))

    def sign_publicly(self, webhook_id: str, at: datetime, text: str) -> str:
        """The `v1a` signature of this body, by the key pair."""
        content = f"{webhook_id}.{int(at.timestamp())}.{text}".encode()
        return f"v1a,{_base64(self._pair.sign(content).signature)}"

    @property
    def _pair(self) -> nacl.signing.SigningKey:
        return nacl.signing.SigningKey(self._derived(":ed25519"))

    def _derived(self, purpose: str = "") -> bytes:
        """32 bytes for this purpose. Whoever knows them knows nothing of another purpose's."""
        text = f"{self.endpoint}:{self.version}{purpose}".encode()
        return hmac.new(settings.WEBHOOK_MASTER_KEY.encode(), text, hashlib.sha256).digest()


def signatures(keys: Sequence[SigningKey], webhook_id: str, at: datetime, text: str) -> str:
    """The `webhook-signature` header: `v1` of each key, then `v1a` of each. A receiver that knows
    only `v1` finds it where it always was.
    """
    by_secrets = [key.sign(webhook_id, at, text) for key in keys]
    by_pairs = [key.sign_publicly(webhook_id, at, text) for key in keys]
    return " ".join([*by_secrets, *by_pairs])


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
