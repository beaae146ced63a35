"""No request costs more than its bytes are worth: a short run of the fuzzer; `bin/soak` has a long
one.
"""

import itertools
import os
from typing import Any

import pytest

from tests.attacks.cost import Request, objections, requests
from tests.shop.everything import Existing, existing, operations

__all__ = ["existing"]
pytestmark = pytest.mark.django_db(transaction=True)
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CASES = int(os.environ.get("FUZZ_CASES", "25"))
SIZES = [int(size) for size in os.environ.get("FUZZ_SIZES", "60000").split(",")]


@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("size", SIZES)
def test_no_request_costs_more_than_its_bytes_are_worth(
    existing: Existing, size: int, settings: Any
) -> None:
    settings.STRIPE_WEBHOOK_SECRET = "whsec_x"
    dear = [
        f"{request.what}: {objection}\n  {request.headers or request.body[:80]!r}"
        for request in itertools.islice(requests(existing, operations(), SEED, size), CASES)
        for objection in objections(request, existing["key"])
    ]
    assert not dear, f"seed {SEED}:\n" + "\n".join(dear[:20])


MANY_NAMES = b'{"n":1' + b"".join(b',"n%d":1' % index for index in range(9_000)) + b"}"
NAME_OVER_VALUES = b'{"' + b"a" * 100_000 + b'":[' + b"0," * 4_000 + b"0]}"


@pytest.mark.parametrize(
    "request_",
    [
        Request("a long name over many values", "POST", "/v1/orders", NAME_OVER_VALUES),
        Request(
            "a row of that kind",
            "POST",
            "/v1/imports",
            NAME_OVER_VALUES + b"\n",
            "application/x-ndjson",
        ),
        Request("many columns", "POST", "/v1/imports", b"a," * 32_000 + b"\n", "text/csv"),
        Request("many unknown fields", "POST", "/v1/orders", MANY_NAMES),
        Request(
            "a preference",
            "POST",
            "/v1/orders",
            b"{}",
            headers={"Prefer": "a" + "; " * 3_000 + '"'},
        ),
    ],
    ids=lambda request: request.what,
)
def test_what_was_once_dear_is_cheap(existing: Existing, request_: Request) -> None:
    assert list(objections(request_, existing["key"])) == []
