"""What is answered about the stock."""

from typing import Annotated

from pydantic import Field

from api.shapes.responses.answer import Exactly, Page
from orders import snapshots


class StockList(Page[snapshots.Stock]):
    pass


class StockMovements(Page[snapshots.StockMovement]):
    pass


class StockFile(Exactly):
    rows: Annotated[int, Field(description="of the file; what they say is set")]
