"""Tags of the mails' templates: what they write follows the form that is being rendered."""

import re
from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

from django import template
from django.conf import settings
from django.template import Context
from django.template.defaultfilters import linebreaksbr
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from notifications.mail.message import TEXT
from notifications.mail.templatetags.orders import amount

register = template.Library()
Lines = Sequence[Mapping[str, Any]]


@register.simple_tag(takes_context=True)
def goods(context: Context, lines: Lines, counter: str, total: bool = False) -> str:
    """{% goods order.lines "withdrawn" %}: each line of which units are `withdrawn`, with how many;
    with `total=True` also what it costs, the shipping and the total. The lines may be those of a
    fulfilment or a return.
    """
    order = context["order"]
    name_of = {line.get("position"): line["name"] for line in order["lines"]}
    rows = [
        {
            "name": " ".join(str(line.get("name") or name_of[line["position"]]).split()),
            "quantity": line[counter],
            "amount": amount(line) if total else None,
        }
        for line in lines
        if line.get(counter)
    ]
    limit = len(rows) if context["form"] == TEXT else settings.MAIL_HTML_LINES_MAX
    variables = {"rows": rows[:limit], "more": len(rows[limit:]), "total": total}
    if total:
        variables["shipping"] = sum((order.get("shipping") or {}).values())
    return _rendered(context, "goods", variables)


@register.simple_block_tag(takes_context=True)
def button(context: Context, content: str, url: str | None) -> str:
    """{% button url %}See your order{% endbutton %}: a link with these words; without an address
    nothing.
    """
    return _rendered(context, "button", {"words": content.strip(), "url": url}) if url else ""


@register.simple_block_tag(takes_context=True)
def row(context: Context, content: str, url: str) -> str:
    """{% row url %}K7QM-3XH9: on hold{% endrow %}: one of a list, which leads there."""
    return _rendered(context, "row", {"words": content.strip(), "url": url})


@register.filter
def paragraphs(html: SafeString) -> SafeString:
    """HTML paragraphs of escaped words, with an empty line between two of them. One that begins
    with a `<` is markup that a tag has written, and stays as it is. An indented one keeps its lines
    and spaces.
    """
    parts = (SafeString(part) for part in re.split(r"\n\s*\n", html) if part.strip())
    return format_html_join("\n", "{}", ((_paragraph(part),) for part in parts))


def _paragraph(part: SafeString) -> SafeString:
    if part.lstrip().startswith("<"):
        return part
    is_kept = all(line.startswith("  ") for line in part.strip("\n").splitlines())
    if is_kept:
        return format_html(KEPT, SafeString(dedent(part.strip("\n"))))
    return format_html(PLAIN, linebreaksbr(SafeString(part.strip())))


PLAIN = '<p style="margin:0 0 16px">{}</p>'
KEPT = (
    '<p class="kept" style="margin:0 0 16px;padding-left:9px;border-left:3px solid #c9c5bb;'
    'white-space:pre-wrap">{}</p>'
)


def _rendered(context: Context, name: str, variables: dict[str, Any]) -> str:
    """The partial `name` of the layout: a paragraph of its own, and HTML on one line, since
    `paragraphs` would cut it at an empty one.
    """
    form = context["form"]
    partial = template.Engine.get_default().get_template(f"mail/layout/{name}.{form}")
    with context.push(**variables):
        rendered = partial.render(context)
    return rendered if form == TEXT else SafeString(f"\n\n{' '.join(rendered.split())}\n\n")
