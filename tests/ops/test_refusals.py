"""What the shop refuses is said on a staff page in its reader's language."""

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client as HttpClient
from django.utils import translation

from ops.refusals import in_words, sentence_of
from orders.inputs.faults import SENTENCES
from orders.models import Order
from orders.models.placed.line import within
from orders.payments.paying import mark_paid
from tests.ops.browsing import page_of, text
from tests.rooms import CHECKOUT
from values.refused import Refused, Sentence

ROOMS = ("models", "payments", "exports", "imports", "inputs")
FOLDERS = (*(f"orders/{room}" for room in ROOMS), "values")
TEXT_AT = {"Sentence": 0, "PydanticCustomError": 1, "Matching": 1}  # which argument it is


def sentences() -> Iterator[str]:
    """Those that stand in the code in one piece, also under a name."""
    for folder in FOLDERS:
        for path in (CHECKOUT / folder).rglob("*.py"):
            yield from _of_a_file(ast.parse(path.read_text()))


def _of_a_file(tree: ast.Module) -> Iterator[str]:
    named = list(_named(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = TEXT_AT.get(node.func.id)
            texts = [node.args[place]] if place is not None else []
            if node.func.id == "invalid":
                texts = [pair.elts[1] for pair in node.args if isinstance(pair, ast.Tuple)]
            for text in texts:
                names = {text.id} if isinstance(text, ast.Name) else set()
                spellings = [text, *(value for name, value in named if name in names)]
                yield from (words for words in map(_words, spellings) if words and "{" not in words)


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _words(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def refusals_of_rows(tree: ast.Module) -> Iterator[ast.expr]:
    """What the code of imports says of a row or of its file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
            yield node.value.elts[-1]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("Fault", "Refused"):
                yield from node.args[1:]
            pairs = [pair for pair in node.args if isinstance(pair, ast.Tuple)]
            yield from (pair.elts[-1] for pair in pairs if node.func.id == "invalid")
            yield from (word.value for word in node.keywords if word.arg in ("fault", "reason"))


def test_nothing_is_said_of_a_row_but_in_a_sentence() -> None:
    """A text that is put together in another way could be read in English only."""
    bare = [
        f"{path.name}:{text.lineno}"
        for path in (CHECKOUT / "orders/imports").rglob("*.py")
        for text in refusals_of_rows(ast.parse(path.read_text()))
        if isinstance(text, ast.JoinedStr) or _words(text)
    ]
    assert bare == []


def test_each_has_its_japanese() -> None:
    found = {*sentences(), *SENTENCES.values()}
    assert len(found) > 140
    with translation.override("ja"):
        assert [text for text in sorted(found) if in_words(text) == text] == []


def test_values_stand_in_it_and_words_among_them_are_translated() -> None:
    held = Sentence("Order %(number)s is %(state)s.", number="K7Q2-90XD", state=Sentence("held"))
    assert held == "Order K7Q2-90XD is held."
    with translation.override("ja"):
        assert in_words(held) == "注文 K7Q2-90XD は保留中です。"
        assert in_words("100 % of it") == "100 % of it"
    with translation.override("en"):
        assert in_words(held) == held


@pytest.mark.django_db(transaction=True)
def test_those_that_are_put_together_are_said_too(placed: Order) -> None:
    [line] = placed.own_lines
    refusals = []
    for of, verb in (("open", "sent"), ("returnable", "returned"), ("restockable", "taken back")):
        with pytest.raises(Refused) as refused:
            within([(line, 99)], of=of, verb=verb)
        refusals.append(refused.value)
    with pytest.raises(Refused) as refused:
        mark_paid(placed, reference="", amount=None)
    refusals.append(refused.value)
    with translation.override("ja"):
        assert [problem for problem in refusals if sentence_of(problem).isascii()] == []


@pytest.mark.django_db(transaction=True)
def test_staff_read_why_a_change_cannot_be_in_japanese(placed: Order, hana: HttpClient) -> None:
    where = page_of(placed, "edit")
    form = hana.get(where).context["form"]
    typed: dict[str, Any] = {name: form[name].value() or "" for name in form.fields}
    typed |= {"version": form.target.version, "billing_address_country": "XX", "email": "nobody"}
    hana.cookies["django_language"] = "ja"
    answer = hana.post(where, typed)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "JP のような二文字の国コード" in page
    assert "メールアドレスを入力してください" in page
    assert "must be" not in text(hana, where)
