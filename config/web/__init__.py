"""What stands between a client and the views: connections, middleware, logging in, health and numbers."""
