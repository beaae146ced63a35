"""The shop's own settings as a dyno has them, with the static files of a build beside the test's
other files.
"""

import os

from tests.promises.settings import *  # noqa: F403

STATIC_ROOT = os.environ["BUILT_STATIC"]
