"""Python reads this at its start where PYTHONPATH leads here: the optional packages count as not
installed.
"""

import sys

for name in ("boto3", "opentelemetry", "sentry_sdk", "stripe"):
    sys.modules[name] = None  # type: ignore[assignment]
