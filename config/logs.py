"""Log lines: one event, one line, as logfmt or JSON; with what it is about and on whose behalf, and
nobody's data.

We log ids and never a person's data; what somebody else's text may carry (an error of Postgres
names the address that stood in the row, Django a path with a customer's token in it) is blacked out
on the way.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from celery_ledger import context

log = logging.getLogger(__name__)

FORMS = ("logfmt", "json", "console")
SENTRY = {"class": "sentry_sdk.integrations.logging.EventHandler", "level": "ERROR"}
# Heroku cuts a line at 10,000 bytes; the end of a traceback says more than its beginning
TRACE_MAX_CHARS = 6000
HIDDEN = "[hidden]"
# a URL's user and password; a mail address
ADDRESS = r"(?<=://)[^/\s@]+(?=@)|\x22?[\w.+%'-]{1,64}\x22?@[\w-]+(?:\.[\w-]+)+"
PERSON = re.compile(ADDRESS)
SECRET = re.compile(
    ADDRESS + r"|(?<=/o/)[\w-]+"  # the customer's status page
    r"|\b(?:kaiten_[\w-]{30,}|whsec_[\w+/=]+"
    r"|(?:[srp]k_(?:live|test)|tok|pm)_\w+|card_[0-9a-z]{14,})"
    r"|(?<=Bearer )\S+",
    re.IGNORECASE,
)
BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")
UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029]")


def scrubbed(text: str) -> str:
    """Without what looks like somebody's address, key or card, and without what no stream can
    write.
    """
    return SECRET.sub(HIDDEN, text.encode(errors="backslashreplace").decode())


def without_addresses(text: str) -> str:
    """Without what leads to a person; a card's token may stay for whoever has to mend the order."""
    return PERSON.sub(HIDDEN, text)


def about(record: logging.LogRecord) -> dict[str, Any]:
    """What a record is about and on whose behalf; asked by whoever logs it, in the context."""
    current = context.current()
    on_behalf = {name: current[name] for name in ("request_id", "client", "job") if name in current}
    fields = {
        name: scrubbed(value) if isinstance(value, str) else value
        for name, value in getattr(record, "fields", {}).items()
    }
    return fields | on_behalf


class AsWarning(logging.Handler):
    """For what Django calls an error though any stranger can bring it about, e.g. a Host that is
    not ours: no trace.
    """

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("%s", record.getMessage())


class Line(logging.Formatter):
    """What every form tells: time, level, logger, event, then `extra={"fields": …}`, the context,
    and a trace.
    """

    def facts(self, record: logging.LogRecord) -> dict[str, Any]:
        written_at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = {
            "at": written_at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._event(record),
            **about(record),
        }
        if record.exc_info:
            trace = scrubbed(self.formatException(record.exc_info))
            facts["trace"] = trace[-TRACE_MAX_CHARS:]
        return facts

    @staticmethod
    def _event(record: logging.LogRecord) -> str:
        return scrubbed(record.getMessage())


class Json(Line):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.facts(record), ensure_ascii=False, default=str)


class Logfmt(Line):
    """`name=value`, a value with a space or worse in it as a JSON string: a traceback is one line
    here too.
    """

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={quoted(value)}" for name, value in self.facts(record).items())


class Console(Line):
    """For people at `bin/dev`: no time, tracebacks as they are used to them."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={quoted(value)}" for name, value in about(record).items())
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{record.levelname} {record.name} {self._event(record)}{facts}{scrubbed(trace)}"


def quoted(value: Any) -> str:
    text = str(value)
    if BARE.fullmatch(text):
        return text
    return UNPRINTABLE.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False)
    )


def configuration(form: str, *, with_sentry: bool = False) -> dict[str, Any]:
    """Python's logging for every process of Kaiten: one stream, stdout, and Sentry's for errors
    beside it.
    """
    beside = {"sentry": SENTRY} if with_sentry else {}
    formatter = {"logfmt": Logfmt, "json": Json, "console": Console}[form]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "line",
            },
            "warning": {"()": AsWarning},
            **beside,
        },
        "root": {"handlers": ["stdout", *beside], "level": "INFO"},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            # config.web.middleware and config.web.error_pages tell
            "django.request": {"level": "CRITICAL"},
            "django.security": {"handlers": ["warning"], "propagate": False},
            "django.server": {"handlers": [], "propagate": True},
            "gunicorn.error": {
                "handlers": ["stdout", *beside],
                "level": "INFO",
                "propagate": False,
            },
            # that it leaves out the body of an answer to HEAD, each time
            "gunicorn.http.wsgi": {"level": "ERROR"},
            # each attempt has its line already: execution.log_entry
            "celery.app.trace": {"level": "CRITICAL"},
            "celery.worker.strategy": {"level": "WARNING"},
            "stripe": {"level": "WARNING"},  # it would say every call twice
        },
    }
