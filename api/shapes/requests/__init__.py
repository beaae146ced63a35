"""The bodies and filters that the endpoints take. Strict: what is wrong is refused by name."""
