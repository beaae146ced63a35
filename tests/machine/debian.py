"""Programs that a test needs, that Debian has, and that are not ours to install."""

import os
import shutil

import pytest

# before the PATH: RabbitMQ's in /usr/sbin changes the user
PLACES = ("/usr/lib/rabbitmq/bin", "/usr/sbin")


def program(name: str, *, package: str) -> str:
    """Its path. Where it is missing the test is skipped, or with SKIP_NOTHING fails."""
    path = os.pathsep.join((*PLACES, os.environ.get("PATH", os.defpath)))
    if found := shutil.which(name, path=path):
        return found
    sentence = f"{name} is not installed: apt-get install --no-install-recommends {package}"
    if os.environ.get("SKIP_NOTHING"):
        pytest.fail(sentence)
    pytest.skip(sentence)
