from tests.promises.conftest import tally

__all__ = ["tally"]
