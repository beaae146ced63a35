"""`manage.py deliveries list|why|retry`"""

import argparse
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Count, Q

from celery_ledger import asked, local_time
from notifications.events import KINDS, SHOP_KINDS
from notifications.interventions import send_again
from notifications.mail.answers.refusal import in_a_line
from notifications.models import Delivery, Endpoint
from notifications.models.deliveries.queryset import DeliveryQuerySet

LIST_MAX = 1000


class Command(BaseCommand):
    help = "Mails and webhooks on their way: which, why they do not arrive, and sending them again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listed = actions.add_parser("list", help="one line a delivery, newest first")
        listed.set_defaults(do=self.listing)
        listed.add_argument("--state", choices=Delivery.State.values, help="all states unless told")
        listed.add_argument("--limit", type=_limit, default=20, help=f"1 to {LIST_MAX}, or 20")
        why = actions.add_parser("why", help="every try of one delivery, and what was answered")
        why.set_defaults(do=self.why)
        why.add_argument("id", metavar="ID")
        retry = actions.add_parser(
            "retry", help="send again what was given up, under the same webhook-id or Message-ID"
        )
        retry.set_defaults(do=self.retry)
        retry.add_argument("--dry-run", action="store_true", help="only count them")
        for action in (listed, retry):
            must = action is retry
            action.add_argument("--since", required=must, help="30m, 2h, 7d ago, or a date")
            action.add_argument("--until", help="made before: like --since")
            action.add_argument("--channel", choices=Delivery.Channel.values)
            action.add_argument("--kind", help="of the event, e.g. order.confirmed")
            action.add_argument("--target", help="an address, or an endpoint's URL or id")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["do"](options)
        except asked.Misunderstood as exc:
            raise CommandError(str(exc)) from exc

    def listing(self, options: dict[str, Any]) -> None:
        found = Delivery.objects.select_related("event", "endpoint").order_by("-pk")
        if options["state"]:
            found = found.filter(state=options["state"])
        since, until = _moment(options["since"]), _moment(options["until"])
        found = found.filter(created_at__gte=since) if since else found
        found = found.filter(created_at__lt=until) if until else found
        for one in _narrowed(found, options)[: options["limit"]]:
            whom = one.endpoint.url if one.endpoint else one.target
            tries = f"{one.tries} tries"
            self.stdout.write(
                f"{one.pk}  {local_time(one.created_at)}  {one.state:<9}  {tries:>8}  "
                f"{one.event.kind}  {one.channel} to {whom}"
            )

    def why(self, options: dict[str, Any]) -> None:
        found = Delivery.objects.select_related("event", "endpoint").filter(pk=_id(options["id"]))
        one = found.first()
        if one is None:
            days = f"{settings.DELIVERY_KEEP.days} days"
            raise CommandError(
                f"There is no delivery {options['id']}; ended ones are forgotten after {days}."
            )
        for sentence in _explanation(one):
            self.stdout.write(sentence)

    def retry(self, options: dict[str, Any]) -> None:
        since, until = asked.since(options["since"]), _moment(options["until"])
        chosen = _narrowed(Delivery.objects.retryable(since=since, until=until), options)
        targets = chosen.values_list("endpoint").annotate(number=Count("pk")).order_by("endpoint")
        urls = Endpoint.objects.in_bulk([pk for pk, _ in targets if pk])
        total = 0
        for pk, number in targets:
            count = number if options["dry_run"] else _send_again(chosen, pk)
            total += count
            target = f"webhooks to {urls[pk]}" if pk else "mails"
            self.stdout.write(f"{count:>8}  {target}")
        what = "would be sent again" if options["dry_run"] else "are sent again, in the bulk queue"
        self.stdout.write(f"Deliveries that {what}: {total}.")


def _send_again(chosen: DeliveryQuerySet, endpoint_id: UUID | None) -> int:
    """Send all of `chosen` to this endpoint, or None: by mail, again: how many. Each transaction
    marks as many as one may, and promises their job: whoever ends this in between has begun nothing
    that does not go on, and may begin anew.
    """
    total, more = 0, True
    while more:
        with transaction.atomic():
            count, more = send_again(chosen, endpoint_id)
        total += count
    return total


def _narrowed(found: DeliveryQuerySet, options: dict[str, Any]) -> DeliveryQuerySet:
    """Those of the channel, kind and target that the options name. Raises CommandError."""
    if options["channel"]:
        found = found.filter(channel=options["channel"])
    if kind := options["kind"]:
        if kind not in (*KINDS, *SHOP_KINDS):
            raise CommandError(f"There is no event {kind}; there are {', '.join(KINDS)}.")
        found = found.filter(event__kind=kind)
    if options["target"]:
        found = found.filter(Q(target=options["target"]) | Q(endpoint__url=options["target"]))
    return found


def _explanation(one: Delivery) -> Iterator[str]:
    """Sentences that say how it stands with a delivery, and what to do."""
    whom = one.endpoint.url if one.endpoint else one.target
    made = local_time(one.created_at)
    yield f"{one.event.kind} by {one.channel} to {whom} is {one.state}; it was made at {made}."
    if one.endpoint and one.endpoint.disabled_at:
        since = local_time(one.endpoint.disabled_at)
        yield f"Its endpoint is disabled since {since}: {one.endpoint.disabled_because}."
    yield from _tries(one)
    if one.state == Delivery.State.WAITING:
        if ahead := Delivery.objects.ahead_of(one):
            yield f"It comes after {ahead.pk}: `manage.py deliveries why {ahead.pk}`."
        yield f"See when it is tried next: `manage.py jobs why {one.job}`."
    if one.suppressed:
        yield "Nothing is mailed to its address: `manage.py mails suppressed ADDRESS` says why."
        yield "If it is to be mailed again: `manage.py mails unsuppress ADDRESS`."
    if one.state == Delivery.State.FAILED:
        yield "Send it again: `manage.py deliveries retry --since … --target …`."


def _tries(one: Delivery) -> Iterator[str]:
    for attempt in one.attempts.order_by("pk"):
        outcome = "arrived" if attempt.ok else "did not arrive"
        took = "" if attempt.duration_ms is None else f" after {attempt.duration_ms} ms"
        yield f"  {local_time(attempt.at)}  {outcome}{took}: {attempt.answer}"
        for name, value in (attempt.request_headers or {}).items():
            yield f"    > {name}: {value}"
        if attempt.body:
            yield f"    < {in_a_line(attempt.body)}"


def _moment(text: str | None) -> datetime | None:
    return asked.since(text) if text else None


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is no delivery's id; `manage.py deliveries list` shows them."
        ) from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIST_MAX):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {LIST_MAX}")
    return int(text)
