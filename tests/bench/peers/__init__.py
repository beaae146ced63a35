"""The same small job without the ledger: a bare loop over a table, and Celery as people tune it."""
