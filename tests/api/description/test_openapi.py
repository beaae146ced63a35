"""The description of the API is true: schemathesis sends what it allows and what it forbids, with
all its checks.

In this process and bounded: the same requests on every run, others with OPENAPI_SEED. What it
allows is taken, but for what no schema can say: `BEYOND_A_SCHEMA` lists all of that.
"""

import itertools
import os
import re
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, seed
from hypothesis import settings as limits
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api.app import api as described_api
from config.wsgi import application
from tests.shop.everything import Existing, existing, operations

__all__ = ["existing"]

# of each endpoint, besides the systematic ones
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "15"))
SEED = int(os.environ.get("OPENAPI_SEED", "0"))  # 0: the same requests on every run
STORIES, STEPS = 12, 8  # of a client that goes from answer to request
CONFIG = {
    "seed": SEED,
    "generation": {"deterministic": not SEED, "max-examples": EXAMPLES, "database": "none"},
}
BEYOND_A_SCHEMA = re.compile(
    # sums
    "no such sku|but the lines and the shipping add up to|discount is more than quantity|"
    # names: Unicode's composed form, and how a spreadsheet guards a text
    "^must (be in Unicode's composed form|not be guarded|not hold U)|"
    # time zones: those that there are
    "^must be a time zone like|"
    # cursors: another order of the list has others
    "^is not the `next` of an earlier page$|"
    # what is there now
    "of .* can be (sent|refunded|taken back|returned)|of .* are announced|"
    "is more than (what is left of it|the lines)|"
    "name each line once|name the line by its position$|"
    "no line of the order|the lines of the order are|is of another sku|"
    "what is left to refund|come to no money|reserved for orders|must be what the order comes to|"
    # files
    "^(the file|[Ll]ine [0-9]+|the header|there is no such column|this column|the columns are|"
    "too many quotes|is for CSV)"
)


schema = schemathesis.openapi.from_wsgi(
    "/v1/openapi.json", application, config=SchemathesisConfig.from_dict(CONFIG)
)


@schemathesis.serializer("text/csv", "application/x-ndjson")
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def sent(case: schemathesis.Case[Any], key: str) -> Any:
    """The answer, with every check that is fair."""
    if case.headers and "Idempotency-Key" in case.headers and case.headers["Idempotency-Key"]:
        case.headers["Idempotency-Key"] = f"{next(_keys)} {case.headers['Idempotency-Key']}"[
            :255
        ].strip()
    # the key is sent also where the case is one of a wrong key: then it may be taken
    authorization = case.headers.get("Authorization", "") if case.headers else ""
    keyed = authorization.startswith("Bearer ")
    headers = {"Authorization": f"Bearer {key}"}
    response = case.call(headers=headers)
    excluded: list[schemathesis.CheckFunction] = [] if keyed else [negative_data_rejection]
    if is_beyond_a_schema(response):
        excluded.append(positive_data_acceptance)
    case.validate_response(
        response,
        excluded_checks=excluded,
        headers=headers,
        transport_kwargs={"headers": dict(headers)},
    )
    return response


_keys = itertools.count()


def is_beyond_a_schema(response: Any) -> bool:
    """A refusal that names nothing but what no schema can say."""
    if response.status_code == 412:  # which version there is now
        return True
    if response.status_code not in (400, 422):
        return False
    errors = response.json()["errors"]
    return bool(errors) and all(
        BEYOND_A_SCHEMA.search(error["message"]) or error["pointer"].startswith("/line ")
        for error in errors
    )


LARGEST = {("post", "/v1/orders"), ("patch", "/v1/orders/{order_id}")}
OPERATIONS = [
    pytest.param(method, path, marks=[pytest.mark.soak] if (method, path) in LARGEST else [])
    for method, path, _ in operations()
]


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_described_is_taken_what_is_not_is_refused_and_no_answer_is_a_5xx(
    method: str, path: str, existing: Existing
) -> None:
    """As `schema.parametrize()` does it, but for the cases: it would make them all when tests are
    collected, in each process that collects, and that takes longer than to collect all the others.
    """

    def is_answered(case: schemathesis.Case[Any]) -> None:
        part = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
        if part and part.mode.is_positive and next(existing["tries"]) % 4:
            case.path_parameters.update(
                {name: existing[name] for name in case.path_parameters if name in existing}
            )
        assert sent(case, existing["key"]).status_code < 500

    load_all_checks()
    build_operation_test(
        config=schema.config,
        operation=schema[path][method],
        test_func=is_answered,
        given_kwargs={},
        feedback=FeedbackSources(constants_value_source=make_constants_value_source(schema)),
        explicit_settings=limits(
            derandomize=not SEED, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )()


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_a_client_that_goes_from_answer_to_request_meets_nothing_else(existing: Existing) -> None:
    """From an order to its refunds, from an endpoint to its deliveries: ids that it was told lead
    somewhere.
    """
    seen: Counter[int] = Counter()

    class Story(schema.as_state_machine()):  # type: ignore[misc]
        def call(self, case: schemathesis.Case[Any], **_: Any) -> Any:
            response = sent(case, existing["key"])
            seen[response.status_code] += 1
            return response

        def validate_response(self, *args: Any, **named: Any) -> None:
            """`sent` has done so."""

    story_limits = limits(
        max_examples=STORIES,
        stateful_step_count=STEPS,
        derandomize=not SEED,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(SEED)(Story) if SEED else Story, settings=story_limits)
    assert seen.total() >= STORIES
    assert seen[200] + seen[201] + seen[202] > 0


def test_the_description_is_3_1_and_names_each_shape_once() -> None:
    document = described_api.get_openapi_schema()
    assert document["openapi"].startswith("3.1.")
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"] and operation["tags"] for _, _, operation in operations())
    assert document["components"]["securitySchemes"]["Key"] == {"type": "http", "scheme": "bearer"}
