"""Another process with plain Celery, which takes lines of JSON and answers each with one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.rooms import CHECKOUT

PLAIN_DB = 11  # of the broker, where nobody else is


class PlainCelery:
    def __init__(self, module: str, broker_url: str) -> None:
        url = urlsplit(broker_url)._replace(path=f"/{PLAIN_DB}").geturl()
        environment = {
            name: value
            for name, value in os.environ.items()
            if name != "DJANGO_SETTINGS_MODULE"  # or Celery makes it a Django app
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=CHECKOUT,
            env=environment,
        )

    def outcome(self, of: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(of) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def plain_celery(module: str, broker_url: str) -> Iterator[PlainCelery]:
    plain = PlainCelery(module, broker_url)
    try:
        yield plain
    finally:
        plain.process.kill()
        plain.process.communicate()
