"""Python reads this at its start where PYTHONPATH leads here: the optional packages count as not installed."""

import sys

sys.modules["stripe"] = None  # type: ignore[assignment]
sys.modules["boto3"] = None  # type: ignore[assignment]
