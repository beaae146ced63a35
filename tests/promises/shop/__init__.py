"""Orders, imports, reports and webhooks, with processes that die and requests that meet."""
