"""Postgres, PgBouncer and the broker in trouble, or with garbage in them."""
