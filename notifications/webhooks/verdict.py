"""Whether a webhook is signed as its receiver expects, and if not, why not.

For people who look for a fault: a receiver in earnest tells nobody why.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nacl.exceptions
import nacl.signing

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
PREFIXES = {"whsec_": "v1", "whpk_": "v1a"}
WHAT_VERIFIES = {"v1": "a secret (whsec_…)", "v1a": "a public key (whpk_…)"}
SIGNATURES_MAX = 20  # of one webhook that are looked at; a sender has ten at most
WHOLE_NUMBER = re.compile(r"\d{1,12}", re.ASCII)
Signatures = list[tuple[str, bytes]]  # the kind of each, and its bytes


@dataclass(frozen=True)
class Verifier:
    """A secret or a public key, under a name for people."""

    name: str
    kind: str  # of the signatures that it verifies: v1 or v1a
    raw: bytes

    @classmethod
    def read(cls, text: str, name: str) -> "Verifier":
        """The verifier that this text is: whsec_… or whpk_…, then base64. Raises ValueError with a
        sentence.
        """
        prefix, _, encoded = text.partition("_")
        kind = PREFIXES.get(f"{prefix}_")
        if kind is None:
            raise ValueError("a secret begins with whsec_, a public key with whpk_")
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {prefix}_ must be base64") from None
        if not raw or (kind == "v1a" and len(raw) != 32):
            raise ValueError(f"{WHAT_VERIFIES[kind]} is 32 bytes long, this one {len(raw)}")
        return cls(name, kind, raw)

    def made_one_of(self, signatures: Signatures, content: bytes) -> bool:
        """Whether one of the signatures is good for this content."""
        mine = [signature for kind, signature in signatures if kind == self.kind]
        if self.kind == "v1":
            expected = hmac.digest(self.raw, content, hashlib.sha256)
            return any(hmac.compare_digest(expected, signature) for signature in mine)
        return any(self._is_good(signature, content) for signature in mine)

    def _is_good(self, signature: bytes, content: bytes) -> bool:
        try:
            nacl.signing.VerifyKey(self.raw).verify(content, signature)
        except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError):
            return False
        return True


@dataclass(frozen=True)
class Keyring:
    """What signatures are verified with."""

    trusted: Sequence[Verifier]
    untrusted: Sequence[Verifier] = ()  # a signature by one is not good: it explains why

    def __str__(self) -> str:
        return " and ".join(one.name for one in self.trusted)


@dataclass(frozen=True)
class Verdict:
    """What was found in one webhook."""

    good_by: list[str]  # the names of the verifiers
    faults: list[str]  # each a sentence; a webhook without any is good


def judged(
    headers: Mapping[str, str], body: bytes, ring: Keyring, *, now_s: float, tolerance_s: int
) -> Verdict:
    """The verdict on a webhook as it came at `now_s`, with its header names in small letters."""
    if missing := [name for name in HEADERS if not headers.get(name)]:
        return Verdict([], [f"There is no {name} header." for name in missing])
    id_, timestamp, header = (headers[name] for name in HEADERS)
    signatures, faults = _signatures(header)
    before = f"{id_}.{timestamp}.".encode()
    good_by = [one.name for one in ring.trusted if one.made_one_of(signatures, before + body)]
    faults = [] if good_by else [*faults, _why_none(signatures, before, body, ring)]
    if not good_by and (cut := _cut(headers, body)):
        faults.append(cut)
    return Verdict(good_by, [*_clock(timestamp, now_s, tolerance_s), *faults])


def _clock(timestamp: str, now_s: float, tolerance_s: int) -> list[str]:
    if not WHOLE_NUMBER.fullmatch(timestamp):
        return [f"webhook-timestamp is {timestamp!r}, not in whole seconds since 1970."]
    off_s = int(now_s) - int(timestamp)
    if abs(off_s) <= tolerance_s:
        return []
    return [
        f"The clock is off by {abs(off_s)} s: the webhook-timestamp is "
        f"{'behind' if off_s > 0 else 'ahead of'} this machine's time, and {tolerance_s} s are "
        "taken. One of the two clocks is wrong, or the request is an old one."
    ]


def _signatures(header: str) -> tuple[Signatures, list[str]]:
    found, faults = [], []
    for one in header.split()[:SIGNATURES_MAX]:
        kind, _, encoded = one.partition(",")
        try:
            found.append((kind, base64.b64decode(encoded, validate=True)))
        except (binascii.Error, ValueError):
            faults.append(f"{one[:100]!r} in webhook-signature is not a kind, a comma and base64.")
    return found, faults


def _why_none(signatures: Signatures, before: bytes, body: bytes, ring: Keyring) -> str:
    """Why no signature is good: the first cause without which one would be."""
    for one in ring.untrusted:
        if one.made_one_of(signatures, before + body):
            return f"The wrong secret or version: it is signed by {one.name}, and not by {ring}."
    if how := _how_rewritten(signatures, before, body, ring):
        return (
            f"The body was written anew: {how}. Verify the bytes as they came, before anything "
            "parses them."
        )
    kinds = {kind for kind, _ in signatures}
    if not kinds & {one.kind for one in ring.trusted}:
        known_kinds = sorted(kinds & set(WHAT_VERIFIES))
        needed = " or ".join(WHAT_VERIFIES[kind] for kind in known_kinds)
        return (
            f"Signatures of the other kind: there are {', '.join(sorted(kinds)) or 'none'}, which "
            f"need {needed or 'another kind of key'}; it was tried with {ring}."
        )
    return (
        f"The wrong secret, or something was changed: none of {len(signatures)} signatures is by "
        f"{ring} for this id, time and body."
    )


def _how_rewritten(signatures: Signatures, before: bytes, body: bytes, ring: Keyring) -> str | None:
    """What was done to the body, if a signature would be good without that."""
    verifiers = [*ring.trusted, *ring.untrusted]
    for how, other in _as_it_may_have_been(body):
        if any(one.made_one_of(signatures, before + other) for one in verifiers):
            return how
    return None


def _cut(headers: Mapping[str, str], body: bytes) -> str | None:
    length = headers.get("content-length", "")
    if not WHOLE_NUMBER.fullmatch(length) or int(length) == len(body):
        return None
    return f"The body has {len(body)} bytes, and content-length says {int(length)}."


def _as_it_may_have_been(body: bytes) -> Iterator[tuple[str, bytes]]:
    """What may have been done to the body by a receiver's framework or a careless hand, and the
    body before that.
    """
    yield "something was added at its end", body.rstrip()
    yield "a byte order mark was put before it", body.removeprefix(b"\xef\xbb\xbf")
    with contextlib.suppress(UnicodeError):
        yield "UTF-8 was read as Latin-1", body.decode().encode("latin-1")
    try:
        content = json.loads(body)
        yield "the same JSON in other bytes", _written(content)
        yield "the same JSON with its keys in another order", _written(_as_stored(content))
    except (ValueError, RecursionError):
        return


def _written(content: Any) -> bytes:
    """The bytes of this JSON as `payload.body` writes them."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _as_stored(content: Any) -> Any:
    """An event as Postgres keeps it: the keys of `data` by length, then by bytes."""
    if not isinstance(content, dict):
        return content
    first = {name: content[name] for name in ("type", "timestamp") if name in content}
    return first | {name: _sorted(value) for name, value in content.items() if name not in first}


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    if not isinstance(value, dict):
        return value
    names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
    return {name: _sorted(value[name]) for name in names}
