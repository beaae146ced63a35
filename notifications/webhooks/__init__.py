"""The edge to clients' servers: the call, the addresses it may go to, and its one deadline."""

from notifications.webhooks.address import may_connect_to, objection, url_pattern
from notifications.webhooks.call import body, post

__all__ = ["body", "may_connect_to", "objection", "post", "url_pattern"]
