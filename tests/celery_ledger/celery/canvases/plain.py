"""Plain Celery on a real broker and result backend: reads shapes, a line each, and answers with
what they come to.

`python -m tests.celery_ledger.celery.canvases.plain REDIS_URL`, started by the test.
"""

import json
import logging
import sys

from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import TimeoutError as NotInTime

from tests.celery_ledger.celery.canvases.shapes import build, define_tasks

HANGS_S = 6.0  # a canvas that has no result by then has none in plain Celery


def main(url: str) -> None:
    app = Celery("plain", broker=url, backend=url, fixups=[])
    app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    define_tasks(app)
    logging.disable()
    with start_worker(app, pool="solo", perform_ping_check=False):
        for line in sys.stdin:
            print(json.dumps(outcome(app, json.loads(line))), flush=True)


def outcome(app: Celery, shape: list[object]) -> list[object]:
    try:
        return ["result", build(app, shape).apply_async().get(timeout=HANGS_S)]
    except NotInTime:
        return ["hangs", None]
    except Exception as exc:
        return ["raises", type(exc).__name__]


if __name__ == "__main__":
    main(sys.argv[1])
