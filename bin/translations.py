"""Compiles every `locale/**/*.po` of the checkout to the `.mo` beside it; `--check` only compares."""

import subprocess
import sys
from pathlib import Path

import polib

CHECKOUT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> None:
    only_check = arguments == ["--check"]
    stale = [path for path in translations() if is_stale(path)]
    for path in stale:
        if only_check:
            print(f"{path.relative_to(CHECKOUT)}: the .mo beside it is out of date. Run bin/lint --fix.")
        else:
            polib.pofile(str(path)).save_as_mofile(str(path.with_suffix(".mo")))
            print(f"compiled {path.relative_to(CHECKOUT)}")
    sys.exit(1 if only_check and stale else 0)


def translations() -> list[Path]:
    """The .po files that git knows or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.po"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    paths = [CHECKOUT / name for name in sorted(set(listing.stdout.split("\0"))) if name]
    return [path for path in paths if path.exists()]


def is_stale(path: Path) -> bool:
    compiled = path.with_suffix(".mo")
    return not compiled.exists() or compiled.read_bytes() != polib.pofile(str(path)).to_binary()


if __name__ == "__main__":
    main(sys.argv[1:])
