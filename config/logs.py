"""Log lines say on whose behalf: ` request=… client=… job=…` at the end."""

import logging

from jobs import context


class AddContext(logging.Filter):
    NAMES = (("request_id", "request"), ("client", "client"), ("job", "job"))

    def filter(self, record: logging.LogRecord) -> bool:
        known = context.current()
        record.context = "".join(f" {shown}={known[name]}" for name, shown in self.NAMES if name in known)
        return True
