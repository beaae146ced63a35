"""A PgBouncer in transaction mode in front of the tests' Postgres: no session is anybody's for
longer than that.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.machine.debian import program
from tests.machine.ports import free_port, listens
from tests.waiting import until

SERVER_SESSIONS = 6


@contextmanager
def pgbouncer(folder: Path, database: dict[str, Any]) -> Iterator[str]:
    """Yields the DATABASE_URL of whoever goes through it."""
    bouncer = program("pgbouncer", package="pgbouncer")
    port = free_port()
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        "[databases]\n"
        f"{database['NAME']} = host={database['HOST']} port={database['PORT']} "
        f"user={database['USER']}"
        f" password='{database['PASSWORD']}'\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {SERVER_SESSIONS}\nmax_client_conn = 200\n"
        + ("user = nobody\n" if os.geteuid() == 0 else "")
    )
    with (folder / "pgbouncer.log").open("ab") as log:
        process = subprocess.Popen(
            [bouncer, str(settings)], stdout=log, stderr=subprocess.STDOUT, cwd="/"
        )
    try:
        until(lambda: listens(port), "PgBouncer answers", within_s=30)
        yield f"postgres://{database['USER']}:x@127.0.0.1:{port}/{database['NAME']}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
