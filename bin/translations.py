"""Compiles every .po file of the checkout to the .mo beside it; `--check` only compares."""

import sys
from pathlib import Path

import polib

CHECKOUT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> None:
    only_check = arguments == ["--check"]
    stale = [path for path in translations() if is_stale(path)]
    for path in stale:
        if only_check:
            print(
                f"{path.relative_to(CHECKOUT)}: the .mo beside it is out of date. "
                "Run bin/lint --fix."
            )
        else:
            polib.pofile(str(path)).save_as_mofile(str(path.with_suffix(".mo")))
            print(f"compiled {path.relative_to(CHECKOUT)}")
    sys.exit(1 if only_check and stale else 0)


def translations() -> list[Path]:
    """The .po files of the checkout, without those of installed packages."""
    folders = [
        path for path in CHECKOUT.iterdir() if path.is_dir() and not path.name.startswith(".")
    ]
    return sorted(path for folder in folders for path in folder.rglob("locale/*/LC_MESSAGES/*.po"))


def is_stale(path: Path) -> bool:
    compiled = path.with_suffix(".mo")
    return not compiled.exists() or compiled.read_bytes() != polib.pofile(str(path)).to_binary()


if __name__ == "__main__":
    main(sys.argv[1:])
