"""What the package's README says is true."""

from celery_ledger.conf import LedgerSettings
from tests.celery_ledger.operations.reference import PACKAGE, README, table, written


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert README.read_text() == written(), "run python -m tests.celery_ledger.operations.reference"
    assert all(f"| `{name}` |" in table() for name in LedgerSettings.__annotations__)


def test_every_proof_that_it_names_is_there() -> None:
    root, text = PACKAGE.parent, README.read_text()
    named = [word for word in text.split("`") if word.startswith(("tests/", "bin/"))]
    assert named
    assert [name for name in named if not (root / name).exists()] == []
