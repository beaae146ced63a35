"""What the panel shows: the buttons, the counter and the newest orders."""

from django.conf import settings
from django.http import HttpRequest

from demo.breaking.counter import standing
from demo.breaking.verbs import offered

QUICK_POLL_S = 2  # while an order is on its way
CALM_POLL_S = 10


def panel(request: HttpRequest) -> dict[str, object]:
    now = standing()
    may = offered(request)
    return {
        "standing": now,
        "verbs": may,
        "lacks_some": not any(verb.for_staff for verb in may),
        "rest_s": settings.DEMO_BREAK_REST_S,
        "poll_s": QUICK_POLL_S if now.under_way else CALM_POLL_S,
    }
