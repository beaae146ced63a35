"""The settings of the dynos that tests start: the shop's own, without its schedule, whose jobs come
at odd moments.
"""

from config.settings import *  # noqa: F403
from config.settings import LEDGER as OWN

CELERY_BEAT_SCHEDULE = {}
SANDBOX_SLOW_S = 15.0
LEDGER = {**OWN, "DRAIN_S": 6, "THREADS_SILENCE_S": 5}  # so that nobody waits long for them
