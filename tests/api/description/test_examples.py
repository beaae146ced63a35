"""The examples of the description are true: each line for a shell is sent to a shop, and what is
answered is what the example says, but for ids, moments and secrets.

RECORD_EXAMPLES=1 writes the answers into api/shapes/examples.json.
"""

import json
import os
import re
import shlex
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.conf import settings as of_the_house
from django.test import Client as HttpClient
from django.utils import timezone

from api.docs import curl
from api.shapes.examples import EXAMPLES, FILE
from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.models import Endpoint
from orders.models import ApiKey, Client
from tests.doubles.edges import WebhookSink
from tests.shop import Api, post
from tests.shop.everything import objections, operations

pytestmark = pytest.mark.django_db(transaction=True)
A_DAY = timedelta(days=1)
OPERATIONS = {
    operation["operationId"]: (method, path, operation) for method, path, operation in operations()
}
BY_THE_PROVIDER = "receive_event"  # who signs it
HOOK = "https://shop.example/hooks"
NO_SECRET = f"whsec_{b64encode(b'an example that is not a secret!').decode()}"
SENT_BY_US = ("content-type", "webhook-id", "webhook-timestamp", "webhook-signature")
VARIES = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)"), "<moment>"),
    (re.compile(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b"), "<number>"),
    (re.compile(r"\b(whsec|whpk|ch|re)_[\w+/=-]+"), "<secret or reference>"),
    (re.compile(r"/o/[\w-]+/"), "/o/<token>/"),
    (re.compile(r"v1a?,[\w+/=]+"), "<signature>"),
    (re.compile(r'"(id|duration_ms)": \d+'), '"number": 1'),
    (re.compile(r'"(next|webhook-timestamp|content-length)": "\d+"'), '"number": "1"'),
)
FIGURES = re.compile("report")  # of today: what they say goes with the hour


class Walk:
    """Sends the lines, and keeps the first answer to each."""

    def __init__(self, key: str, sink: WebhookSink) -> None:
        self.variables = {"KEY": key}
        self.sink = sink
        self.answers: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str) -> Any:
        """The answer: JSON or text."""
        method, path, operation = OPERATIONS[name]
        command = curl.command(method.upper(), path, operation, EXAMPLES[name]["request"])
        response = sent(command, self.variables)
        assert response.status_code < 300, (name, response.content)
        text = b"".join(response) if response.streaming else response.content
        text = self.as_from_a_shop(text.decode())
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        answer = json.loads(text) if is_json else text
        self.answers.setdefault(name, {"status": response.status_code})
        if text:
            self.answers[name].setdefault("answer", answer)
        work_off(ahead=A_DAY)
        return answer

    def as_from_a_shop(self, text: str) -> str:
        text = text.replace(self.sink.url, HOOK)
        text = text.replace(urlsplit(self.sink.url).netloc, urlsplit(HOOK).netloc)
        return re.sub(r"whsec_[\w+/=]+", NO_SECRET, text)

    def learn(self, variable: str, name: str) -> None:
        self.variables[variable] = self(name)["id"]


def sent(command: str, variables: dict[str, str]) -> Any:
    """What a shell and curl make of it."""
    for placeholder, value in (
        (curl.FRESH_KEY, uuid4().hex),
        (curl.TODAY["day"], f"{timezone.localdate()}"),
        (curl.TODAY["month"], f"{timezone.localdate():%Y-%m}"),
    ):
        command = command.replace(placeholder, value)
    command = re.sub(r"\$([A-Z_]+)", lambda found: variables[found[1]], command)
    method, headers, body, address = "GET", {}, None, ""
    words = iter(shlex.split(command.replace("\\\n", ""))[1:])
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d" | "--data-binary":
                body = next(words)
                method = "POST" if method == "GET" else method
            case _:
                address = word
    assert address.startswith(of_the_house.SITE_URL)
    path = address.removeprefix(of_the_house.SITE_URL)
    kind = headers.pop("Content-Type", "application/json")
    return HttpClient().generic(method, path, body or "", kind, headers=headers)


Placed = Callable[..., None]


def a_day_of_a_shop(do: Walk, placed: Placed) -> None:
    do("count_stock")
    do.learn("ENDPOINT_ID", "create_endpoint")
    Endpoint.objects.update(url=do.sink.url)
    do.learn("ORDER_ID", "place_order")
    for name in "list_orders read_order change_order read_order_by_external_id".split():
        do(name)
    for name in "read_events hold_order release_order read_payment".split():
        do(name)
    do.learn("FULFILMENT_ID", "fulfil_order")
    for name in "read_fulfilments cancel_fulfilment fulfil_order".split():
        do(name)
    do.learn("RETURN_ID", "announce_return")
    for name in "read_returns receive_return refund_order read_refunds export_customer".split():
        do(name)
    do.learn("RETURN_ID", "announce_return")
    do("cancel_return")
    placed("pay_order_again", token="tok_declined", attempts=2)
    placed("mark_order_paid", method="bank_transfer")
    placed("cancel_order", token="tok_ok")


def what_is_beside_the_orders(do: Walk) -> None:
    for name in "read_shop change_shop count_file list_stock read_stock adjust_stock".split():
        do(name)
    do("remove_stock")
    do("list_stock_movements")
    do.learn("IMPORT_ID", "begin_import")
    do.learn("EXPORT_ID", "begin_export")
    for name in "read_import read_errors read_export read_file list_events".split():
        do(name)
    for name in OPERATIONS:
        if "report" in name:
            do(name)
    for name in "list_endpoints read_endpoint change_endpoint rotate_secret test_endpoint".split():
        do(name)
    do("replay_deliveries")
    do.variables["DELIVERY_ID"] = do("list_deliveries")["data"][0]["id"]
    do("read_delivery")
    do("delete_endpoint")


def work_that_failed(do: Walk) -> None:
    job = Job.objects.filter(task="orders.tasks.reserve", queue="kaiten").latest("created_at")
    do.variables["JOB_ID"] = str(job.pk)
    again = {"state": "waiting", "finished_at": None, "due_at": timezone.now() + 2 * A_DAY}
    Job.objects.filter(pk=job.pk).update(state="dead")
    for name in "list_jobs read_job retry_job".split():
        do(name)
    Job.objects.filter(pk=job.pk).update(**again)
    do("cancel_job")


def test_each_line_is_answered_as_its_example_says(
    shop: Client, sink: WebhookSink, settings: Any, order_body: Callable[..., Any]
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    key = ApiKey.objects.issue(shop, [])
    do = Walk(key, sink)

    def placed(name: str, **payment: Any) -> None:
        body = order_body(external_id=name, email="mei@example.com", payment=payment)
        do.variables["ORDER_ID"] = post(Api(key), "/v1/orders", body).json()["id"]
        work_off()
        do(name)

    a_day_of_a_shop(do, placed)
    what_is_beside_the_orders(do)
    work_that_failed(do)
    do.learn("ERASURE_ID", "erase_customer")
    do("read_erasure")
    answers = {**do.answers, "webhook": webhook_in(sink)}
    if os.environ.get("RECORD_EXAMPLES"):
        record(answers)
    assert set(do.answers) == set(OPERATIONS) - {BY_THE_PROVIDER}
    for name, answer in answers.items():
        kept = {part: value for part, value in EXAMPLES[name].items() if part != "request"}
        compared = outline if FIGURES.search(name) else masked
        assert compared(answer) == compared(kept), name


def webhook_in(sink: WebhookSink) -> dict[str, Any]:
    headers, body = next(one for one in sink.heard if b'"order.confirmed"' in one[1])
    return {"headers": {name: headers[name] for name in SENT_BY_US}, "answer": json.loads(body)}


def record(answers: dict[str, Any]) -> None:
    for name, answer in answers.items():
        EXAMPLES[name] = {"request": EXAMPLES.get(name, {}).get("request", {}), **answer}
    FILE.write_text(json.dumps(EXAMPLES, ensure_ascii=False, indent=1) + "\n")


def masked(answer: Any) -> Any:
    text = json.dumps(answer, ensure_ascii=False)
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return json.loads(text)


def outline(answer: Any) -> Any:
    """Its names, of lists those of the first, and of a text the first line."""
    match answer:
        case dict():
            return {name: outline(value) for name, value in answer.items()}
        case list():
            return [outline(value) for value in answer[:1]]
        case str():
            return answer.partition("\r\n")[0] if "\r\n" in answer else ""
    return None


def test_each_example_is_of_the_shape_that_is_described() -> None:
    wrong, looked = list[str](), 0
    for name, (_, _, operation) in OPERATIONS.items():
        example = EXAMPLES[name]
        if "body" in example["request"]:
            [content] = operation["requestBody"]["content"].values()
            wrong += objections(example["request"]["body"], content["schema"])
            looked += 1
        if isinstance(answer := example.get("answer"), dict):
            content = operation["responses"][str(example["status"])]["content"]
            wrong += objections(answer, content["application/json"]["schema"])
            looked += 1
    assert wrong == []
    assert looked > len(OPERATIONS)
