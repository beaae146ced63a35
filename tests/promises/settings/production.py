"""The shop's own settings as a dyno has them, with the static files of a build beside the test's
other files.
"""

import os
from pathlib import Path

from tests.promises.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["BUILT_STATIC"])
