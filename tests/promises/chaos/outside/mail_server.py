"""A mail server: `python -m … PORT JOURNAL SEED`. It runs until it is killed.

Each mail is noted before it is answered: whose delivery (its Message-ID), to whom, a digest of what
it says, and whether it was taken. The Date is no part of what it says: each try bears its own.
"""

import asyncio
import email
import hashlib
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from aiosmtpd.controller import Controller

from tests.promises.chaos.outside.journal import Journal
from tests.promises.chaos.outside.moods import HANG_S, Mood, mood


class Postbox:
    def __init__(self, journal: Journal, dice: Random) -> None:
        self.journal, self.dice = journal, dice

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        treats = mood(self.dice)
        self.journal.note(**heard(envelope.original_content), taken=treats != Mood.REFUSE)
        if treats == Mood.HANG:
            await asyncio.sleep(HANG_S)
        if treats == Mood.FORGET:
            server.transport.abort()
        return "451 later, please" if treats == Mood.REFUSE else "250 OK"


def heard(content: bytes) -> dict[str, str]:
    message = email.message_from_bytes(content)
    delivery = message["Message-ID"].strip("<>").partition("@")[0]
    del message["Date"]
    return {
        "delivery": delivery,
        "target": message["To"],
        "digest": hashlib.sha256(message.as_bytes()).hexdigest(),
    }


if __name__ == "__main__":
    port, path, seed = sys.argv[1:]
    Controller(
        Postbox(Journal(Path(path)), Random(int(seed))), hostname="127.0.0.1", port=int(port)
    ).start()
    signal.pause()
