"""What a payment provider is answered."""

from typing import Literal

from api.shapes.responses.answer import Exactly


class Received(Exactly):
    received: Literal[True]
