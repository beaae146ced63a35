"""A request of each operation and what was answered to it: `examples.json`, by operation.

`request` is written by hand: `path`, `query`, `headers`, `body` or `file`, as far as it has any.
`status` and `answer` are what a shop really said: tests/api/description/test_examples.py sends each
of them, and writes them anew with RECORD_EXAMPLES=1.
"""

import json
from pathlib import Path
from typing import Any, Final

FILE = Path(__file__).with_suffix(".json")
EXAMPLES: Final[dict[str, dict[str, Any]]] = json.loads(FILE.read_text())
