"""Many starts of `manage.py` in a row: each a fork of an interpreter that has loaded the libraries
and nothing of ours, so that it reads its settings as a process of its own would.

Run as a program, it reads `[[arguments, environment], …]` as JSON and prints `[[status, output],
…]`.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module

from tests.rooms import CHECKOUT

LIBRARIES = (
    "celery.schedules",
    "dj_database_url",
    "django.core.management",
    "environ",
    "kombu.transport.redis",
    "psycopg",
)
Ended = tuple[int, str]


def start_each(starts: list[tuple[list[str], dict[str, str]]]) -> list[Ended]:
    """The exit status of each, and what it wrote to either stream."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.promises.dynos.starts"],
        input=json.dumps(starts),
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    return [(status, output) for status, output in json.loads(ended.stdout)]


def main() -> None:
    _load_libraries()
    json.dump([_fork(*start) for start in json.load(sys.stdin)], sys.stdout)


def _load_libraries() -> None:
    for name in LIBRARIES:
        import_module(name)
    ours = {"config", "orders", "celery_ledger", "notifications", "api"} & {*sys.modules}
    assert not ours, f"{ours} would not be read anew"


def _fork(arguments: list[str], environment: dict[str, str]) -> Ended:
    with tempfile.TemporaryFile() as output:
        if not (pid := os.fork()):
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            os._exit(_status(arguments, environment))
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode()


def _status(arguments: list[str], environment: dict[str, str]) -> int:
    """As the interpreter does it for a program's end."""
    os.environ.clear()
    os.environ.update(environment)
    if hidden := environment.get("PYTHONPATH"):
        runpy.run_path(f"{hidden}/sitecustomize.py")
    sys.argv = ["manage.py", *arguments]
    try:
        runpy.run_path("manage.py", run_name="__main__")
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    main()
