"""From where a list goes on, as its address says. A place that cannot be read is a 404 and not
quietly the beginning.
"""

from collections.abc import Callable

from django.http import Http404, HttpRequest

SERIAL_MAX = 2**63 - 1  # of Postgres' bigint


def place[Place](request: HttpRequest, name: str, read: Callable[[str], Place]) -> Place | None:
    """The place in that parameter; None where there is none. `read` raises ValueError."""
    text = request.GET.get(name, "")
    if not text:
        return None
    try:
        return read(text)
    except ValueError:
        raise Http404 from None


def serial(text: str) -> int:
    """The number of a row. Raises ValueError for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= SERIAL_MAX):
        raise ValueError(text)
    return int(text)
