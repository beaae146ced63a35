"""Who is told of what: events, deliveries and the endpoints of clients; and how a shop speaks."""

from notifications.models.delivery import Attempt, Delivery, NotDelivered
from notifications.models.endpoint import Endpoint
from notifications.models.event import Event
from notifications.models.shop import Shop

__all__ = ["Attempt", "Delivery", "Endpoint", "Event", "NotDelivered", "Shop"]
