"""Python reads this at its start where PYTHONPATH leads here: the kernel counts as one without
IPv6.
"""

import errno
import socket
import sys


def refuse(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.__new__" and args[1] == socket.AF_INET6:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")


sys.addaudithook(refuse)
