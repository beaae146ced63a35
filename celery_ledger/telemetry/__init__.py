"""The ledger in metrics, spans and Celery's events."""
