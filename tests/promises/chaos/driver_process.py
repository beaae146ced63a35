"""`python -m …`: Django first, and then the driver."""

import django

django.setup()

from tests.promises.chaos.driver import main  # noqa: E402  # models can be imported only now

if __name__ == "__main__":
    raise SystemExit(main())
