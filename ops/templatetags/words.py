"""States and reasons in words that people read; a word of a client's own stays as it is."""

from datetime import timedelta
from json import dumps
from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from notifications.mail.templatetags.orders import HELD_FOR
from ops.models import StaffAction
from ops.orders.verbs import VERBS
from ops.refusals import in_words
from ops.stock import verbs as stock_verbs

register = template.Library()
register.filter("in_words", in_words)

WORDS: dict[str, Promise] = {
    "received": gettext_lazy("received"),
    "reserved": gettext_lazy("set aside"),
    "confirmed": gettext_lazy("confirmed"),
    "completed": gettext_lazy("completed"),
    "cancelled": gettext_lazy("cancelled"),
    "none": gettext_lazy("no payment"),
    "pending": gettext_lazy("payment pending"),
    "action_required": gettext_lazy("customer must confirm"),
    "authorized": gettext_lazy("authorized"),
    "paid": gettext_lazy("paid"),
    "partially_refunded": gettext_lazy("partly paid back"),
    "refunded": gettext_lazy("paid back"),
    "failed": gettext_lazy("payment declined"),
    "waiting": gettext_lazy("waiting"),
    "running": gettext_lazy("running"),
    "done": gettext_lazy("done"),
    "dead": gettext_lazy("dead"),
    "partial": gettext_lazy("sent in part"),
    "full": gettext_lazy("sent"),
    "announced": gettext_lazy("announced"),
    "succeeded": gettext_lazy("paid back"),
    "card": gettext_lazy("card"),
    "manual": gettext_lazy("paid elsewhere"),
    "cod": gettext_lazy("paid on delivery"),
    "bank_transfer": gettext_lazy("bank transfer"),
    "requested": gettext_lazy("somebody asked for it"),
    **HELD_FOR,
}

# deliveries: how they go, and how they stand
DELIVERY_WORDS: dict[str, Promise] = {
    "mail": gettext_lazy("mail"),
    "webhook": gettext_lazy("webhook"),
    "chat": gettext_lazy("chat of the staff"),
    "waiting": gettext_lazy("on its way"),
    "delivered": gettext_lazy("arrived"),
    "failed": gettext_lazy("given up"),
    "suppressed": gettext_lazy("not mailed"),
    # why nothing is mailed to an address
    "bounced": gettext_lazy("no mailbox is there"),
    "complained": gettext_lazy("its reader has complained"),
    "staff": gettext_lazy("staff say so"),
}
WORDS |= {  # what moves stock
    "counted": gettext_lazy("counted"),
    "adjusted": gettext_lazy("added or removed"),
    "released": gettext_lazy("free again"),
    "shipped": gettext_lazy("sent"),
    "unshipped": gettext_lazy("not sent after all"),
    "returned": gettext_lazy("came back"),
}
WORDS |= {  # files, and what becomes of an import's orders
    "under_way": gettext_lazy("under way"),
    "held": gettext_lazy("on hold"),
    "refused": gettext_lazy("refused"),
    "sold_out": gettext_lazy("sold out"),
    "declined": gettext_lazy("declined"),
    "expired": gettext_lazy("not paid in time"),
}
FIELDS: dict[str, Promise] = {
    "on_hand": gettext_lazy("On hand"),
    "available": gettext_lazy("Can be ordered"),
    "backorder_limit": gettext_lazy("May be owed"),
    "low_at": gettext_lazy("Low at"),
    "name": gettext_lazy("Name"),
    "counted": gettext_lazy("Is counted"),
}

# what staff did to anything but an order, whose verbs have their words in ops.orders.verbs
DONE: dict[str, Promise] = {
    "send_again": gettext_lazy("Send again"),
    "job_retry": gettext_lazy("Try again"),
    "job_run_now": gettext_lazy("Run now"),
    "job_cancel": gettext_lazy("Cancel"),
    "job_discard": gettext_lazy("Put aside"),
    "job_stop": gettext_lazy("Stop"),
    "queue_pause": gettext_lazy("Pause"),
    "queue_resume": gettext_lazy("Resume"),
    "queue_run": gettext_lazy("Run now"),
    "replay": gettext_lazy("Send a range again"),
    "enable_endpoint": gettext_lazy("Call the endpoint again"),
    "test_endpoint": gettext_lazy("Test the endpoint"),
    "suppress_address": gettext_lazy("Mail nothing to an address"),
    "unsuppress_address": gettext_lazy("Mail to an address again"),
    "add_stock": gettext_lazy("New goods"),
    "import": gettext_lazy("Import a file"),
    "export": gettext_lazy("Export orders"),
    "download": gettext_lazy("Download"),
    "new_client": gettext_lazy("New client"),
    "make_key": gettext_lazy("Make a key"),
    "rotate_key": gettext_lazy("Rotate"),
    "revoke_key": gettext_lazy("Revoke"),
    "shop_settings": gettext_lazy("Shop settings"),
    **{slug: verb.word for slug, verb in stock_verbs.VERBS.items()},
}


@register.filter
def word(slug: str) -> Promise | str:
    """{{ order.state|word }}"""
    return WORDS.get(slug, slug)


PERMISSIONS: dict[str, Promise] = {
    "look": gettext_lazy("look"),
    "operate": gettext_lazy("act"),
    "administer": gettext_lazy("change keys and settings"),
}


@register.filter
def permission(codename: str) -> Promise | str:
    return PERMISSIONS.get(codename, codename)


@register.filter
def field(name: str) -> Promise | str:
    """{{ name|field }}: the name of something that an action changes."""
    return FIELDS.get(name, name)


@register.filter
def plain(value: Any) -> Any:
    """{{ change|plain }}: a value of JSON as people read it."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return "–" if value in (None, "") else value


@register.filter
def changes(action: StaffAction) -> list[tuple[str, Any, Any]]:
    """{% for name, was, is in action|changes %}: each value that it changed."""
    pairs = ((name, action.before.get(name), value) for name, value in action.after.items())
    return [(name, was, value) for name, was, value in pairs if was != value]


@register.filter
def span(length: timedelta) -> str:
    """{{ step.after|span }}: 12 ms, 3.4 s, 2:05:00"""
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=int(seconds)))


@register.filter
def json(value: Any) -> str:
    """{{ job.args|json }}, as text"""
    return dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)


@register.filter
def delivery_word(slug: str) -> Promise | str:
    """{{ delivery.state|delivery_word }}, {{ delivery.channel|delivery_word }}"""
    return DELIVERY_WORDS.get(slug, slug)


@register.filter
def verb(slug: str) -> Promise | str:
    """{{ action.verb|verb }}"""
    return VERBS[slug].word if slug in VERBS else DONE.get(slug, slug)
