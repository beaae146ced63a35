"""What has changed in the code since the last look."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

LOOK_S = 1.0
NOT_THE_PRODUCT = {"tests", "docs", "node_modules", "__pycache__"}
ENDINGS = (".py", ".html", ".txt", ".mo")  # templates are read once, as translations are


class Watcher:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = self.look()
        self.looked_at = time.monotonic()

    def changed(self) -> list[str]:
        """The files that are new, gone or other than at the last look, LOOK_S ago or longer."""
        if time.monotonic() - self.looked_at < LOOK_S:
            return []
        before, self.seen = self.seen, self.look()
        self.looked_at = time.monotonic()
        names = before.keys() | self.seen.keys()
        return sorted(name for name in names if before.get(name) != self.seen.get(name))

    def look(self) -> dict[str, int]:
        """When each file of the product was last written, by its path in the checkout."""
        return {str(path.relative_to(self.folder)): written for path, written in self.files()}

    def files(self) -> Iterator[tuple[Path, int]]:
        for folder, inner, names in os.walk(self.folder):
            inner[:] = [name for name in inner if name[0] != "." and name not in NOT_THE_PRODUCT]
            for name in names:
                if name.endswith(ENDINGS):
                    path = Path(folder, name)
                    try:
                        yield path, path.stat().st_mtime_ns
                    except OSError:  # an editor has just put another one in its place
                        continue
