from tests.promises.settings import *  # noqa: F403
from tests.promises.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.promises.dynos.releases.old"]
