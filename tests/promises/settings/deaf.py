"""Of workers that tests make deaf: less patient, so that nobody waits long to see them cured."""

from tests.promises.settings import *  # noqa: F403
from tests.promises.settings import LEDGER as OWN

LEDGER = {**OWN, "DEAF_S": 4, "STOP_S": 10}
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 5, 8
