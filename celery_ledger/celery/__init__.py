"""What Celery is handed in the place of its own parts."""
