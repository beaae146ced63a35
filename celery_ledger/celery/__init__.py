"""The classes and settings that a Celery app is given in place of Celery's own."""
