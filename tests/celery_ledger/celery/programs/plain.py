"""Plain Celery on a real broker and result backend, which reads names of programs.

`python -m tests.celery_ledger.celery.programs.plain REDIS_URL`, started by the test.
"""

import json
import logging
import sys

from celery import Celery
from celery.contrib.testing.worker import start_worker

from tests.celery_ledger.celery.programs.programs import define_tasks, outcome


def main(url: str) -> None:
    app = Celery("plain", broker=url, backend=url, fixups=[])
    app.conf.update(
        worker_hijack_root_logger=False, worker_redirect_stdouts=False, task_default_queue="kaiten"
    )
    define_tasks(app)
    logging.disable()
    with start_worker(app, pool="solo", perform_ping_check=False):
        for line in sys.stdin:
            print(json.dumps(outcome(app, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
