"""Celery tasks as rows of Postgres: promised in a transaction, claimed, settled, rescued and rung again."""
