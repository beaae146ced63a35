"""Who is told of what: events, deliveries and the endpoints of clients."""

from notifications.models.delivery import Attempt, Delivery, NotDelivered
from notifications.models.endpoint import Endpoint
from notifications.models.event import Event

__all__ = ["Attempt", "Delivery", "Endpoint", "Event", "NotDelivered"]
