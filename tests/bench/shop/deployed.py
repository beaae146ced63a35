"""The settings of a worker as on a platform, but for the receiver on this machine that it calls:
DEBUG would have each statement written down twice.
"""

from tests.promises.settings import *  # noqa: F403

WEBHOOK_ALLOW_LOCAL = True
