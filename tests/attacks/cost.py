"""What a request costs the process that answers it, and requests that are made to cost much.

The oracle is bytes in → CPU and memory: a request may take so much for being one, and so much for
each of its bytes, told in terms of what Python's own JSON parser takes for a byte on this machine.
Whatever grows faster than its input is found, and so is what is merely too dear. Everything is
drawn from a seed.
"""

import json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from orders.inputs.order import EXAMPLE
from tests.shop.everything import Existing

PLAIN = json.dumps([EXAMPLE] * 200).encode()  # what a byte is worth, is measured on this
REQUEST_S = 0.15  # for being a request at all, with its statements
REQUEST_BYTES = 16 * 1024 * 1024
BYTE_COSTS = 60  # times what the parser takes for one
ROW_BYTE_COSTS = 2000  # of a file: an empty line is a byte, and a row
BYTE_KEEPS = 80  # bytes of memory for each that came
ROW_BYTE_KEEPS = 500  # of a file, whose rows are worked off here too
ANSWER_MAX_BYTES = 300_000  # the largest page there is for everybody is the API's description
TRIES = 3


@dataclass(frozen=True, slots=True)
class Request:
    what: str
    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return (
            len(self.body)
            + len(self.path)
            + sum(len(name) + len(value) for name, value in self.headers.items())
        )

    @property
    def is_file(self) -> bool:
        return self.path == "/v1/imports"


@dataclass(frozen=True, slots=True)
class Cost:
    status: int
    cpu_s: float
    peak_bytes: int
    answer_bytes: int


def byte_s() -> float:
    """Seconds of CPU that Python's parser takes for a byte, here and now."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        json.loads(PLAIN)
        best = min(best, time.process_time() - began)
    return best / len(PLAIN)


def send(request: Request, key: str) -> Any:
    browser = HttpClient(raise_request_exception=False)
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": str(random.getrandbits(64)),
        **request.headers,
    }
    answer = browser.generic(
        request.method,
        request.path,
        request.body,
        content_type=request.content_type,
        headers=headers,
    )
    if request.is_file and answer.status_code == 202:
        work_off()  # its rows are judged later, in another process
    return answer


def cost_of(request: Request, key: str, *, memory: bool) -> Cost:
    if memory:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
    began = time.process_time()
    answer = send(request, key)
    content = answer.getvalue() if answer.streaming else answer.content
    cpu_s, peak = time.process_time() - began, 0
    if memory:
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
    return Cost(answer.status_code, cpu_s, peak, len(content))


def allowed_s(request: Request) -> float:
    """Seconds of CPU that the request may take on this machine, as busy as it is now."""
    costs = ROW_BYTE_COSTS if request.is_file else BYTE_COSTS
    return REQUEST_S + request.size * byte_s() * costs


def objections(request: Request, key: str) -> Iterator[str]:
    """What is wrong with the answer or its price.

    CPU is judged by the best of some tries, each against what a byte is worth at that moment: the
    machine is shared.
    """
    for _ in range(TRIES):
        cost, limit_s = cost_of(request, key, memory=False), allowed_s(request)
        if cost.cpu_s <= limit_s:
            break
    else:
        yield f"{cost.cpu_s:.2f} s for {request.size} bytes; {limit_s:.2f} would be allowed"
    if cost.status >= 500:
        yield f"answered {cost.status}"
    if cost.answer_bytes > ANSWER_MAX_BYTES:
        yield f"answered with {cost.answer_bytes} bytes"
    keeps = cost_of(request, key, memory=True).peak_bytes
    if keeps > REQUEST_BYTES + request.size * (ROW_BYTE_KEEPS if request.is_file else BYTE_KEEPS):
        yield f"kept {keeps} bytes for {request.size}"


# --- inputs made to cost much ---------------------------------------------------------------------

Pump = Callable[[int, random.Random], str]  # a JSON text of about so many characters


def _wide(size: int, dice: random.Random) -> str:
    return "[" + ",".join(["0"] * (size // 2)) + "]"


def _long_name_over_many(size: int, dice: random.Random) -> str:
    """What grows with the path above each node costs the name for each of the nodes."""
    half = size // 2
    return '{"' + "a" * half + '":[' + ",".join(["0"] * (half // 2)) + "]}"


def _deep(size: int, dice: random.Random) -> str:
    opens = dice.choice(("[", '{"a":'))
    depth = dice.choice((10, 31, 33, size // len(opens)))
    return opens * depth + "1" + ("]" if opens == "[" else "}") * depth


def _nested_wide(size: int, dice: random.Random) -> str:
    return "[" + ",".join(["[[[[[[[]]]]]]]"] * (size // 15)) + "]"


def _many_names(size: int, dice: random.Random) -> str:
    return (
        "{"
        + ",".join(f'"n{index}":{dice.choice(("1", "null", "{}"))}' for index in range(size // 9))
        + "}"
    )


def _one_name_often(size: int, dice: random.Random) -> str:
    return "{" + ",".join(['"a":1'] * (size // 6)) + "}"


def _long_text(size: int, dice: random.Random) -> str:
    unit = dice.choice(
        (
            "a",
            "鮭",
            "\\n",
            "\\u0041",
            "\\ud83d\\ude00",
            "\\ud83d",
            "\\u0000",
            " ",
            "@",
            ".",
            "a@",
            "-",
            "9",
        )
    )
    return '"' + unit * (size // len(unit)) + '"'


def _number(size: int, dice: random.Random) -> str:
    return dice.choice(("", "-", "0.", "1e", "1e-", "1.")) + "9" * size


def _spaces(size: int, dice: random.Random) -> str:
    return " " * size + "1"


def _broken(size: int, dice: random.Random) -> str:
    return dice.choice(
        ("[" * size, '{"a":' * (size // 5), '"' + "\\" * size, "{" * size, '"a' * (size // 2))
    )


def _lines_of_an_order(size: int, dice: random.Random) -> str:
    item = json.dumps(
        dice.choice(
            (EXAMPLE["lines"][0], {"sku": "NONE", "quantity": 1, "unit_price": 1}, {}, [], 1)
        )
    )
    return "[" + ",".join([item] * max(1, size // (len(item) + 1))) + "]"


PUMPS: tuple[Pump, ...] = (
    _wide,
    _long_name_over_many,
    _deep,
    _nested_wide,
    _many_names,
    _one_name_often,
    _long_text,
    _number,
    _spaces,
    _broken,
    _lines_of_an_order,
)
FIELDS = (
    "lines",
    "metadata",
    "email",
    "external_id",
    "currency",
    "locale",
    "total",
    "payment",
    "url",
    "events",
    "reason",
)
HEADERS = (
    "Prefer",
    "If-None-Match",
    "Idempotency-Key",
    "Authorization",
    "Cookie",
    "Accept-Language",
    "X-Request-ID",
    "traceparent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "HX-Request",
    "Accept",
    "Content-Encoding",
    "Origin",
    "Stripe-Signature",
)
HEADER_UNITS = (
    "a",
    ";",
    "; ",
    ",",
    ', "',
    '"',
    "=",
    "a=",
    "-",
    "a-",
    "q=0.",
    "\\",
    "%",
    " ",
    "a; ",
    "wait=",
    "é",
    "0",
)
HEADER_MAX = 8000
CSV_HEADER = "external_id,currency,email,sku,name,quantity,unit_price,total,token\n"
# of a sku that is not there: no order, no jobs
CSV_ROW = "o-{index},JPY,a@example.com,NONE,x,1,300,300,tok_ok\n"


def json_body(size: int, dice: random.Random) -> str:
    """Hostile as a whole, or in one field of what would be an order."""
    pumped = dice.choice(PUMPS)(size, dice)
    if dice.random() < 0.4:
        return pumped
    if dice.random() < 0.2:
        return "[" + ",".join([json.dumps(EXAMPLE)] * (size // 300 + 1)) + "]"
    name = dice.choice(FIELDS)
    around = json.dumps(EXAMPLE | {name: "PUMPED"})
    return around.replace('"PUMPED"', pumped)


def header(dice: random.Random) -> dict[str, str]:
    unit = dice.choice(HEADER_UNITS)
    begins = dice.choice(("", "a", "wait=1", 'W/"', "Bearer ", "django_language=", "sessionid="))
    ends = dice.choice(("", '"', "\\", "x"))
    return {dice.choice(HEADERS): begins + unit * (HEADER_MAX // len(unit)) + ends}


def csv_file(size: int, dice: random.Random) -> str:
    row = CSV_ROW.format(index=1)
    kinds: dict[str, Callable[[], str]] = {
        "empty lines": lambda: CSV_HEADER + "\n" * size,
        "empty cells": lambda: CSV_HEADER + ",,,,,,,,\n" * (size // 9),
        "open quotes": lambda: CSV_HEADER + '"\n' * (size // 2),
        "quotes within": lambda: CSV_HEADER + 'b",",\n' * (size // 6),
        "one order": lambda: CSV_HEADER + row * (size // len(row)),
        "many orders": lambda: (
            CSV_HEADER + "".join(CSV_ROW.format(index=index) for index in range(size // len(row)))
        ),
        "a long cell": lambda: CSV_HEADER + "x" * size,
        "a long quoted cell": lambda: CSV_HEADER + '"' + "x\n" * (size // 2),
        "many columns": lambda: "a," * (size // 2) + "\n",
        "many cells": lambda: CSV_HEADER + "," * size + "\n",
        "many unknown columns": lambda: ",".join(f"c{index}" for index in range(size // 6)) + "\n",
        "carriage returns": lambda: CSV_HEADER + "\r" * size,
        "no columns": lambda: "\n" * size,
    }
    return dice.choice(sorted(kinds.items()))[1]()


def ndjson_file(size: int, dice: random.Random) -> str:
    if dice.random() < 0.3:
        return dice.choice(("\n", "{}\n", "[]\n", '{"a":1}\n', '"\n')) * (size // 8)
    row_size = dice.choice((200, 2_000, 120_000, 130_000))
    return "".join(
        json_body(min(row_size, size), dice) + "\n" for _ in range(max(1, size // row_size))
    )


PAGES = (
    "/",
    "/o/x/",
    "/admin/login/",
    "/i18n/setlang/",
    "/problems/",
    "/v1/docs",
    "/livez",
    "/nothing",
    "/v1/nothing",
)


def requests(
    existing: Existing, operations: list[tuple[str, str, dict[str, Any]]], seed: int, size: int
) -> Iterator[Request]:
    """One after another without end: each operation of the API in turn, then a page."""
    dice = random.Random(seed)
    while True:
        for method, path, operation in operations:
            yield from requests_of_an_operation(existing, method, path, operation, size, dice)
        for page in PAGES:
            yield from requests_of_a_page(page, size, dice)


def requests_of_an_operation(
    existing: Existing,
    method: str,
    path: str,
    operation: dict[str, Any],
    size: int,
    dice: random.Random,
) -> Iterator[Request]:
    """A file or a body if it takes one, a header, and a query if it reads one."""
    where = path.format(**existing)
    if "text/csv" in operation.get("requestBody", {}).get("content", {}):
        form = dice.choice(("text/csv", "application/x-ndjson"))
        text = (csv_file if form == "text/csv" else ndjson_file)(size, dice)
        file = text.encode(errors="replace")
        yield Request(f"{method} {path} {form}", method, where, file, form)
    elif method != "get":
        body = json_body(size, dice).encode(errors="replace")
        yield Request(f"{method} {path}", method, where, body)
    yield Request(f"{method} {path} with a header", method, where, b"{}", headers=header(dice))
    if method == "get":
        unit = dice.choice(("a", "%41", "%e9%ae%ad", "&", "a=&", "limit=1&", "=", "+"))
        begin = dice.choice(("", "after=", "email=", "created_after="))
        query = begin + unit * (3000 // len(unit))
        yield Request(f"{method} {path} with a query", method, f"{where}?{query}")


def requests_of_a_page(page: str, size: int, dice: random.Random) -> Iterator[Request]:
    """A header, a form, and a form of many parts."""
    yield Request(f"page {page}", dice.choice(("GET", "HEAD")), page, headers=header(dice))
    unit = dice.choice(("a=1&", "a=&", "&", "%", "%41", "=", "a", "email=%40&"))
    form_body = (unit * (size // len(unit))).encode()
    yield Request(f"form {page}", "POST", page, form_body, "application/x-www-form-urlencoded")
    parts = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * (size // 60)
    whole = parts + b"--x--\r\n"
    form = "multipart/form-data; boundary=x"
    yield Request(f"multipart {page}", "POST", page, whole, form)
