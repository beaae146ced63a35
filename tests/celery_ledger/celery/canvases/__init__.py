"""Random canvases, run on plain Celery with its Redis backend and on the ledger, and compared."""
