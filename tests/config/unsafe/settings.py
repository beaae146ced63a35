"""The shop's settings, with the linter of migrations, which no dyno carries, and something for it
to find.
"""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_migration_linter", "tests.config.unsafe"]
