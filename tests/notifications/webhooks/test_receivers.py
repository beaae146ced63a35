"""The snippets of docs/webhooks.md verify a really sent webhook, in the language of each."""

import base64
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as shop
from django.db import connection
from django.utils import timezone

from notifications.models import Delivery, Endpoint, Event
from notifications.webhooks import content, post
from tests.doubles.edges import WebhookSink
from tests.machine.debian import program

PAGE = (Path(shop.BASE_DIR) / "docs" / "webhooks.md").read_text()
RUN = {  # how to call a snippet with each of the cases on stdin
    "python": """
import json, sys
for case in json.load(sys.stdin):
    print(json.dumps(verify(case["key"], case["headers"], base64.b64decode(case["body"]))))
""",
    "js": """
for (const one of JSON.parse(require("node:fs").readFileSync(0)))
  console.log(JSON.stringify(verify(one.key, one.headers, Buffer.from(one.body, "base64"))));
""",
    "ruby": """
require "json"
JSON.parse($stdin.read).each { |one|
  puts((verify(one["key"], one["headers"], Base64.decode64(one["body"])) ? true : false).to_json)
}
""",
    "php": """
foreach (json_decode(stream_get_contents(STDIN), true) as $one) {
    echo json_encode(verify($one["key"], $one["headers"], base64_decode($one["body"]))), "\\n";
}
""",
    "go": """
package main

import ("encoding/json"; "fmt"; "net/http"; "os")

func main() {
	var cases []struct { Key string; Headers map[string]string; Body []byte }
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
	for _, one := range cases {
		headers := http.Header{}
		for name, value := range one.Headers { headers.Set(name, value) }
		fmt.Println(Verify(one.Key, headers, one.Body))
	}
}
""",
}
PROGRAMS = {  # their Debian packages, and the option that takes a program
    "js": ("node", "nodejs", "-e"),
    "ruby": ("ruby", "ruby", "-e"),
    "php": ("php", "php-cli", "-r"),
    "go": ("go", "golang-go", "run"),
}
LANGUAGES = [  # a compiler is much to install for every push
    language if language != "go" else pytest.param("go", marks=pytest.mark.soak) for language in RUN
]
LONG_AGO = "1700000000"


def test_there_is_a_snippet_in_five_languages() -> None:
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {*RUN, "json", "sql"}


def snippet_in(language: str) -> str:
    [snippet] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(snippet)


@pytest.mark.django_db
def test_the_statement_takes_what_is_new_of_an_order_and_passes_over_the_rest() -> None:
    statement = re.sub(r":(\w+)", r"%(\1)s", snippet_in("sql"))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE known_orders (id text PRIMARY KEY, version int)")

        def is_new(id_: str, version: int) -> bool:
            cursor.execute(statement, {"id": id_, "version": version})
            return bool(cursor.rowcount)

        heard = [("a", 2), ("a", 1), ("b", 1), ("a", 2), ("a", 4), ("a", 3)]
        assert [one for one in heard if is_new(*one)] == [("a", 2), ("b", 1), ("a", 4)]


def test_the_thin_payload_is_as_it_is_sent() -> None:
    sent = json.loads(snippet_in("json"))
    order = sent["data"]["order"]
    event = Event(pk=sent["id"], kind=sent["type"], data={"order": {**order, "email": "x"}})
    event.at = datetime.fromisoformat(sent["timestamp"])
    assert content(event, "thin") == sent


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_snippet_tells_a_good_webhook_from_others(
    language: str, sink: WebhookSink, settings: Any, tmp_path: Path
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    endpoint = Endpoint(
        owner=uuid4(),
        url=sink.url,
        secret_version=2,
        secret_ends=[timezone.now() + timedelta(days=1)],
    )
    event = Event(kind="order.held", data={"order": {"name": "鮭"}}, at=timezone.now())
    post(Delivery(event=event, endpoint=endpoint))
    [(headers, body)] = sink.heard
    cases = [case for key in endpoint.keys for case in cases_of(key, headers, body)]
    answers = run(command_of(language, tmp_path), [case for _, case in cases])
    assert answers == [expected for expected, _ in cases]


def cases_of(key: Any, headers: dict[str, str], body: bytes) -> list[tuple[bool, dict[str, Any]]]:
    wrong = Endpoint(secret_version=key.version).keys[0]
    v1, v1a = (
        [one for one in headers["webhook-signature"].split() if one.startswith(kind)]
        for kind in ("v1,", "v1a,")
    )
    changes: list[tuple[bool, str, dict[str, str], bytes]] = []
    for own, other, mine, theirs in (
        (key.secret, wrong.secret, v1, v1a),
        (key.public, wrong.public, v1a, v1),
    ):
        changes += [
            (True, own, {}, body),
            (True, own, {"webhook-signature": " ".join(mine)}, body),
            (False, own, {"webhook-signature": " ".join(theirs)}, body),
            (False, own, {"webhook-signature": "v1 v1a, v1,? v1a,AAAA v1,AAAA"}, body),
            (False, own, {"webhook-id": "another"}, body),
            (False, own, {"webhook-timestamp": "soon"}, body),
            (False, own, {"webhook-timestamp": LONG_AGO}, body),
            (False, own, {}, body + b" "),
            (False, other, {}, body),
        ]
        late = {"webhook-timestamp": LONG_AGO}
        changes.append((False, own, late | signed(key, headers, body), body))
    return [
        (good, {"key": text, "headers": headers | more, "body": base64.b64encode(content).decode()})
        for good, text, more, content in changes
    ]


def signed(key: Any, headers: dict[str, str], body: bytes) -> dict[str, str]:
    """Well, but long ago."""
    at = datetime.fromtimestamp(int(LONG_AGO), tz=UTC)
    content = (headers["webhook-id"], at, body.decode())
    return {"webhook-signature": f"{key.sign(*content)} {key.sign_publicly(*content)}"}


def command_of(language: str, folder: Path) -> list[str]:
    """The snippet with what calls it."""
    snippet = snippet_in(language)
    if language == "python":
        return [sys.executable, "-c", snippet + RUN[language]]
    name, package, option = PROGRAMS[language]
    path = program(name, package=package)
    if language != "go":
        return [path, option, snippet + RUN[language]]
    files = {"hooks.go": snippet.replace("package hooks", "package main"), "main.go": RUN["go"]}
    for file, text in files.items():
        (folder / file).write_text(text)
    return [path, option, *(str(folder / file) for file in files)]


def run(command: list[str], cases: list[dict[str, Any]]) -> list[bool]:
    ended = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]
