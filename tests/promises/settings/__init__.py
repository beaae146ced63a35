"""The settings of the dynos that tests start: the shop's own, without its schedule, whose jobs come
at odd moments.
"""

import os

from config.settings import *  # noqa: F403
from config.settings import LEDGER as OWN

CELERY_BEAT_SCHEDULE = {}
SANDBOX_SLOW_S = float(os.environ.get("SLOW_S", "15"))
LEDGER = {**OWN, "DRAIN_S": 6, "THREADS_SILENCE_S": 12}  # so that nobody waits long for them
