from tests.promises.conftest import stack

__all__ = ["stack"]
