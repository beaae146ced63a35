"""`python -m config.gunicorn …`: gunicorn, once the settings can be read.

It reads WEB_CONCURRENCY by itself as it is imported, and ends in a traceback when that is no
number.
"""

import os

from config.start.boot import require_settings, say_it_in_a_sentence


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    with say_it_in_a_sentence():
        require_settings()
    from gunicorn.app.wsgiapp import run  # noqa: PLC0415 - see above

    run(prog="gunicorn")


if __name__ == "__main__":
    main()
