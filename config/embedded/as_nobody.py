"""Runs the program in its arguments as a root that is called `nobody`.

In a user namespace of its own, which knows nobody else. It is a program, not a function between
fork and exec, because those are unsafe in a process with threads.
"""

import os
import sys
from pathlib import Path

NOBODY = 65534


def main(command: list[str]) -> None:
    os.unshare(os.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} 0 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} 0 1")
    os.execv(command[0], command)  # noqa: S606  # the command is Postgres's


if __name__ == "__main__":
    main(sys.argv[1:])
