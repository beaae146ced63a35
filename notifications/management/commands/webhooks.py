"""`manage.py webhooks listen|verify`"""

import argparse
import re
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notifications.models import Endpoint
from notifications.signing import SigningKey
from notifications.webhooks.listener import Listener, Manners
from notifications.webhooks.verdict import Keyring, Verdict, Verifier, judged

SECRETS_MAX = 10  # that may be given
OLD_VERSIONS = 10  # of an endpoint, that explain a signature
TOLERANCE_MAX_S = 100 * 365 * 86400
HEAD_MAX_BYTES = 64 * 1024
STDIN = "-"


class Command(BaseCommand):
    help = "Receivers' side of webhooks: listen on this machine, and why a signature is not good."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listen = actions.add_parser("listen", help="a receiver on 127.0.0.1, until Ctrl-C")
        verify = actions.add_parser("verify", help="whether a webhook is good, and if not, why")
        _add_listening(listen, do=self.listen)
        _add_verifying(verify, do=self.verify)
        for action in (listen, verify):
            action.add_argument("--endpoint", metavar="ID", help="one of this database")
            action.add_argument(
                "--secret", action="append", default=[], help="whsec_… or whpk_…; may be repeated"
            )

    def handle(self, *args: Any, **options: Any) -> None:
        options["do"](options)

    def listen(self, options: dict[str, Any]) -> None:
        ring, manners = _keyring(options), _manners(options)

        def judge(headers: dict[str, str], body: bytes) -> Verdict:
            return _judged(headers, body, ring, settings.WEBHOOK_TOLERANCE_S)

        try:
            listener = Listener(options["port"], judge, manners, self._tell)
        except OSError as exc:
            raise CommandError(f"--port {options['port']}: {exc.strerror}.") from exc
        with listener:
            self._tell(f"Listening at http://127.0.0.1:{listener.server_address[1]}/ until Ctrl-C.")
            listener.serve_forever()

    def verify(self, options: dict[str, Any]) -> None:
        ring = _keyring(options)
        verdict = _judged(*_request(options), ring, options["tolerance"])
        if verdict.good_by:
            self.stdout.write(f"The signature is good by {' and '.join(verdict.good_by)}.")
        for fault in verdict.faults:
            self.stdout.write(fault)
        if verdict.faults:
            sys.exit(1)

    def _tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _add_listening(action: argparse.ArgumentParser, *, do: Callable[..., None]) -> None:
    action.set_defaults(do=do)
    action.add_argument("--port", type=_within(0, 65535), default=9000, help="9000; 0: any free")
    answer = action.add_mutually_exclusive_group()
    answer.add_argument("--status", type=_within(200, 599), help="answer with it, e.g. 500")
    answer.add_argument("--hang", action="store_true", help="do not answer at all")
    longest = int(settings.LISTENER_HANG_MAX_S)
    action.add_argument("--delay", type=_within(1, longest), help="answer after so many seconds")
    every = "misbehave at each so-many-th only; by 500 unless told otherwise"
    action.add_argument("--every", type=_within(1, 1000), help=every)


def _add_verifying(action: argparse.ArgumentParser, *, do: Callable[..., None]) -> None:
    action.set_defaults(do=do)
    headers = "lines as `webhook-id: …`, or - for stdin; a body may follow an empty line"
    action.add_argument("--headers", required=True, metavar="FILE", help=headers)
    action.add_argument("--body", metavar="FILE", help="the bytes as they came, or -")
    tolerance = "that the clocks may differ by: 300, or more for a request that was kept"
    action.add_argument(
        "--tolerance",
        type=_within(0, TOLERANCE_MAX_S),
        default=settings.WEBHOOK_TOLERANCE_S,
        metavar="S",
        help=tolerance,
    )


def _judged(headers: dict[str, str], body: bytes, ring: Keyring, tolerance_s: int) -> Verdict:
    return judged(headers, body, ring, now_s=time.time(), tolerance_s=tolerance_s)


def _manners(options: dict[str, Any]) -> Manners:
    status, delay_s, hangs = options["status"], options["delay"], options["hang"]
    if hangs and delay_s:
        raise CommandError("--hang never answers, and --delay answers later: say one of them.")
    if options["every"] and not (status or delay_s or hangs):
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    return Manners(status, delay_s or 0, hangs, options["every"] or 1)


def _keyring(options: dict[str, Any]) -> Keyring:
    """What --secret and --endpoint name to verify with, and what else may explain why a signature
    is not good. Raises CommandError.
    """
    given = options["secret"]
    if not given and not options["endpoint"]:
        raise CommandError("Say what to verify with: --endpoint ID, --secret whsec_… or whpk_….")
    if len(given) > SECRETS_MAX:
        raise CommandError(f"--secret may be there {SECRETS_MAX} times.")
    now, before = _of_endpoint(options["endpoint"]) if options["endpoint"] else ([], [])
    if not given:
        return Keyring(now, before)
    try:
        own = [Verifier.read(text, f"--secret {number}") for number, text in enumerate(given, 1)]
    except ValueError as exc:
        raise CommandError(f"--secret: {exc}.") from exc
    return Keyring(own, now + before)


def _of_endpoint(text: str) -> tuple[list[Verifier], list[Verifier]]:
    """The endpoint's verifiers: of the versions that sign now, and of those that do no more."""
    try:
        endpoint = Endpoint.objects.get(pk=UUID(text))
    except (ValueError, Endpoint.DoesNotExist):
        raise CommandError(f"--endpoint: there is none with the id {text!r}.") from None
    keys = endpoint.keys
    before = range(keys[-1].version - 1, 0, -1)[:OLD_VERSIONS]
    old_keys = [SigningKey(endpoint.pk, version) for version in before]
    return (
        [verifier for key in keys for verifier in _both(key, "")],
        [verifier for key in old_keys for verifier in _both(key, ", whose time is over")],
    )


def _both(key: SigningKey, more: str) -> list[Verifier]:
    """Its secret and its public key; `more` follows their names."""
    return [
        Verifier.read(key.secret, f"the secret of version {key.version}{more}"),
        Verifier.read(key.public, f"the public key of version {key.version}{more}"),
    ]


def _request(options: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """The headers, with names in small letters, and the body. Raises CommandError."""
    if options["headers"] == options["body"] == STDIN:
        raise CommandError("Only one of --headers and --body can be read from stdin.")
    head, end, rest = _halved(_read("--headers", options["headers"]))
    headers = {}
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.removeprefix("> ").partition(":")  # as `curl -v` shows them
        headers[name.strip().lower()] = value.strip()
    if options["body"] is None:
        if not end:
            raise CommandError("There is no body: say --body FILE, or put it after an empty line.")
        return headers, rest
    if rest.strip():
        raise CommandError("--headers holds a body too: leave that out, or --body.")
    return headers, _read("--body", options["body"])


def _halved(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before the first empty line, the line's end, and what stands after it."""
    ends = [(raw.find(end), end) for end in (b"\r\n\r\n", b"\n\n") if end in raw]
    return raw.partition(min(ends)[1]) if ends else (raw, b"", b"")


def _read(option: str, path: str) -> bytes:
    limit = settings.BODY_MAX_BYTES + HEAD_MAX_BYTES
    try:
        if path == STDIN:
            raw = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(limit + 1)
    except OSError as exc:
        raise CommandError(f"{option} {path}: {exc.strerror}.") from exc
    if len(raw) > limit:
        raise CommandError(f"{option} {path} has more than {limit} bytes.")
    return raw


def _within(low: int, high: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `low` to `high`."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"a whole number from {low} to {high}")
        return int(text)

    return number
