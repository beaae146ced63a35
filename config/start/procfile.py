"""The Procfile: what runs as which process type."""

import re
from pathlib import Path

LINE = re.compile(r"^(\w+):\s*(\S.*?)\s*$", re.MULTILINE)


def commands(procfile: Path) -> dict[str, str]:
    """The command of each process type, in the order of its lines."""
    return dict(LINE.findall(procfile.read_text()))
