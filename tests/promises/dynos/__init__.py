"""How web and worker start, are released, and meet clients, on a platform."""
