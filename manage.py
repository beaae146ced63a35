#!/usr/bin/env python
"""Django's command line. In a development checkout it runs on the same embedded servers as `bin/dev`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed for this Python. Run `bin/dev --setup`, then use .venv/bin/python.")
    from config.boot import require_settings, say_it_in_a_sentence
    from config.embedded import adopt, is_offline_command

    with say_it_in_a_sentence():
        adopt(os.environ)
        if not is_offline_command() and sys.argv[1] != "doctor":  # who tells of all that is missing
            require_settings()
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
