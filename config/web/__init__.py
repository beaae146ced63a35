"""What stands between a client and the views: connections, middleware, login, health, numbers."""
