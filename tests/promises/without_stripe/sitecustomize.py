"""Python reads this at its start where PYTHONPATH leads here: the optional package counts as not installed."""

import sys

sys.modules["stripe"] = None  # type: ignore[assignment]
