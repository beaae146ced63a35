#!/usr/bin/env python
"""Django's command line. In a development checkout it runs on the same embedded servers as
`bin/dev`.
"""

import io
import os
import select
import sys


def main() -> None:
    """End as programs of a shell do at Ctrl-C or when nobody reads on: without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the terminal has no character for
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # as by `manage.py jobs list | head`, or another's pipe
        if not is_unread(sys.stdout.fileno()):
            raise
        # or Python complains once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def run() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit(
            "Django is not installed for this Python. "
            "Run `bin/dev --setup`, then use .venv/bin/python."
        )
    from config.embedded import adopt, is_offline_command
    from config.start.boot import require_settings, say_it_in_a_sentence

    with say_it_in_a_sentence():
        adopt(os.environ)
        if not is_offline_command() and sys.argv[1] != "doctor":  # who tells of all that is missing
            require_settings()
        execute_from_command_line(sys.argv)


def is_unread(descriptor: int) -> bool:
    """Whether it is a pipe whose reader went away."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


if __name__ == "__main__":
    main()
