"""Included by a worker, this makes it say what it has received: a bell that left the broker may be
on its way yet.
"""

import logging

logging.getLogger("celery.worker.strategy").setLevel("INFO")
