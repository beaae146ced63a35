"""Whether a mail server that refuses a recipient means that no mailbox is there."""

import re

REFUSED_FOR_GOOD = range(500, 600)
CODE = re.compile(r"(?<![\d.])[45]\d\d(?![\d.])")
ENHANCED = re.compile(r"(?<![\d.])5\.\d{1,3}\.\d{1,3}(?![\d.])")  # RFC 3463
# Its mailbox is unknown, its domain is, it is no address, it has moved, its domain takes no mail.
# Other codes 5.1.x are about the sender's address (5.1.7, 5.1.8) or do not say whose (5.1.0).
NO_MAILBOX = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"}
PLAIN = (550, 551, 553)  # of a server that gives no such code
WORDS = re.compile(
    r"(user|recipient|mailbox|address|account)( is| was)? (unknown|not found)"
    r"|(unknown|no such|invalid) (local )?(user|recipient|mailbox|address|account)"
    r"|(user|recipient|mailbox|address|account) (does not|doesn't) exist",
    re.IGNORECASE,
)
# Such words are about us, whatever the code; but not those of "unknown in relay recipient table".
ABOUT_US = re.compile("relay(?! recipient)|sender|authenticat|policy|spam|block", re.IGNORECASE)


def knows_no_mailbox(code: int, text: bytes | str) -> bool:
    """Whether a server's reply to RCPT says for good that no mailbox is there: False for a relay
    that does not know us, a policy, a full mailbox, and a code without words.
    """
    reply = in_a_line(text)
    if code not in REFUSED_FOR_GOOD or ABOUT_US.search(reply):
        return False
    if enhanced := ENHANCED.search(reply):
        return enhanced[0] in NO_MAILBOX
    return code in PLAIN and bool(WORDS.search(reply))


def reports_no_mailbox(report: str) -> bool:
    """The same of a reply as a provider quotes it, with its code somewhere in it, like
    "smtp;550 5.1.1 …"; without any it counts as refused for good.
    """
    code = CODE.search(report)
    return knows_no_mailbox(int(code[0]) if code else REFUSED_FOR_GOOD[0], report)


def in_a_line(text: bytes | str) -> str:
    """The text on one line, with U+FFFD for what could harm a terminal, or what Postgres does not
    keep.
    """
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    words = " ".join(decoded.split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)
