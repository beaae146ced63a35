"""What a mail server means that refuses a recipient: that no mailbox is there, or anything else."""

import re

REFUSED_FOR_GOOD = range(500, 600)
CODE = re.compile(r"(?<![\d.])[45]\d\d(?![\d.])")
ENHANCED = re.compile(r"(?<![\d.])5\.\d{1,3}\.\d{1,3}(?![\d.])")  # RFC 3463
# Its mailbox is unknown, its domain is, it is no address, it has moved, its domain takes no mail.
# What else begins so is about the sender's address (5.1.7, 5.1.8) or does not say whose (5.1.0).
NO_MAILBOX = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"}
PLAIN = (550, 551, 553)  # of a server that gives no such code
WORDS = re.compile(
    r"(user|recipient|mailbox|address|account)( is| was)? (unknown|not found)"
    r"|(unknown|no such|invalid) (local )?(user|recipient|mailbox|address|account)"
    r"|(user|recipient|mailbox|address|account) (does not|doesn't) exist",
    re.IGNORECASE,
)
# Who says so is displeased with us, whatever code they give; but "unknown in relay recipient table"
OF_OURS = re.compile("relay(?! recipient)|sender|authenticat|policy|spam|block", re.IGNORECASE)


def knows_no_mailbox(code: int, text: bytes | str) -> bool:
    """Whether the answer to RCPT says for good that nobody can be mailed there. A relay that does
    not know us, a policy and a full mailbox say other things, and so does whoever says nothing.
    """
    said = in_a_line(text)
    if code not in REFUSED_FOR_GOOD or OF_OURS.search(said):
        return False
    if enhanced := ENHANCED.search(said):
        return enhanced[0] in NO_MAILBOX
    return code in PLAIN and bool(WORDS.search(said))


def reports_no_mailbox(report: str) -> bool:
    """The same of such an answer with words around it: "smtp;550 5.1.1 …"."""
    code = CODE.search(report)
    return knows_no_mailbox(int(code[0]) if code else REFUSED_FOR_GOOD[0], report)


def in_a_line(text: bytes | str) -> str:
    """Harmless to a terminal and to Postgres."""
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(said.split()))
