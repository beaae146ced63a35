"""The edge to clients' servers: the call, the addresses it may go to, and its one deadline."""

from notifications.webhooks.address import may_connect_to, objection, url_pattern
from notifications.webhooks.call import post, post_json
from notifications.webhooks.payload import body, content

__all__ = ["body", "content", "may_connect_to", "objection", "post", "post_json", "url_pattern"]
