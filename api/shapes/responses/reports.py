"""What is answered while there are no figures yet; they stand in orders/reports/snapshots.py."""

from typing import Literal

from api.shapes.responses.answer import Exactly


class Computing(Exactly):
    state: Literal["computing"]
