"""What a server of the outside world remembers: one JSON line per thing it took, written before it
answers.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Append-only. A line is one write, so that whoever is killed leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, **entry: Any) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """What was noted so far, oldest first; nothing when nobody has begun the journal."""
    if path.exists():
        with path.open() as journal:
            for line in journal:
                yield json.loads(line)
