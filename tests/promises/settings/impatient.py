"""Of workers whose later queues are not to wait for long behind the first ones."""

from tests.promises.settings import *  # noqa: F403
from tests.promises.settings import LEDGER as OWN

LEDGER = {**OWN, "QUEUE_PATIENCE_S": 2}
