"""`python -m tests.bench.peers.loop`: one process of the bare loop."""

import django

django.setup()

from tests.bench.peers.work import work_off  # noqa: E402

if __name__ == "__main__":
    work_off()
