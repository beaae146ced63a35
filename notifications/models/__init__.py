"""Who is told of what: events, deliveries and the endpoints of clients; and how a shop speaks."""

from notifications.models.alert import Alert
from notifications.models.deliveries.attempt import (
    Answer,
    Attempt,
    NoMailbox,
    NotDelivered,
    Suppressed,
)
from notifications.models.deliveries.delivery import Delivery
from notifications.models.endpoint import Endpoint
from notifications.models.event import Event
from notifications.models.shop import Shop
from notifications.models.suppression import Suppression

__all__ = [
    "Alert",
    "Answer",
    "Attempt",
    "Delivery",
    "Endpoint",
    "Event",
    "NoMailbox",
    "NotDelivered",
    "Shop",
    "Suppressed",
    "Suppression",
]
