"""Every regular expression of the product is read in time that grows as its input does, however
hostile that is.

The patterns are taken from the source, all of them; what is fed to them is made from the patterns
themselves: some of their own characters, pumped between what may stand before them and what spoils
the match. Time is compared with time: twice the input may take about twice as long, and never four
times.
"""

import ast
import random
import re
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

import pytest

from tests.rooms import CHECKOUT

ROOMS = ("api", "config", "celery_ledger", "demo", "notifications", "ops", "orders", "values")
LENGTH = 1_000  # of what is pumped, and twice and four times as much
GROWTH_MAX = 3.0  # from one length to the next; 2 is linear, 4 quadratic
SHORT = (16, 20, 24)  # repetitions from which an exponential one would never come back
SHORT_MAX_S = 0.02
NOISE_S = 0.002  # what takes less is no measurement
TRIES = 5
SAMPLES = 60  # random inputs of each pattern, besides the systematic ones


class Reader(NamedTuple):
    """A pattern, and what the product does with it."""

    where: str
    pattern: re.Pattern[Any]
    way: str  # match, fullmatch, search, …

    def read(self, text: str) -> None:
        subject = text.encode() if isinstance(self.pattern.pattern, bytes) else text
        if self.way == "sub":
            self.pattern.sub(subject[:0], subject)
        else:
            getattr(self.pattern, self.way)(subject)


def readers() -> Iterator[Reader]:
    """What each call of `re` is given, put together as its module does it."""
    for path in sorted(path for room in ROOMS for path in (CHECKOUT / room).rglob("*.py")):
        source = path.read_text()
        if "import re\n" not in source:  # all tests that are collected wait for this
            continue
        tree = ast.parse(source)
        if not (found := calls_of("re", tree)):
            continue
        module = import_module(
            path.relative_to(CHECKOUT).with_suffix("").as_posix().replace("/", ".")
        )
        for name, call in found:
            flags = [word.value for word in call.keywords if word.arg == "flags"] + call.args[1:]
            pattern, flag = (
                eval(ast.unparse(node), vars(module)) for node in (call.args[0], flag_of(flags))
            )
            compiled = re.compile(pattern, flag)
            for way in (
                sorted(ways_of(compiled, vars(module), tree)) if name == "compile" else [name]
            ):
                yield Reader(f"{module.__name__}:{call.lineno} {way}", compiled, way)


def calls_of(name: str, tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Calls `name.attribute(…)` with their attributes."""
    return [
        (call.func.attr, call)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        if ast.unparse(call.func).rpartition(".")[0] == name
    ]


def flag_of(arguments: list[ast.expr]) -> ast.expr:
    """`re.IGNORECASE` and the like among them, or none."""
    return next(
        (node for node in arguments if ast.unparse(node).startswith("re.")), ast.Constant(0)
    )


def ways_of(pattern: re.Pattern[Any], constants: dict[str, object], tree: ast.AST) -> set[str]:
    """What its module does with a compiled pattern; whoever gets it from there reads from end to
    end.
    """
    name = next(name for name, value in constants.items() if value == pattern)
    return {way for way, _ in calls_of(name, tree)} or {"fullmatch"}


FOUND = list(readers())


def hostile(pattern: Any) -> Iterator[tuple[str, str, str]]:
    """What stands before, what is pumped, and what comes after."""
    pattern = pattern.decode() if isinstance(pattern, bytes) else pattern
    dice = random.Random(pattern)
    own = [
        letter for letter in dict.fromkeys(pattern) if letter.isprintable() and not letter.isspace()
    ]
    letters = [
        *own,
        *'a0 \t\n"\\é',
        "x@",
        ".a",
        "a=b",
        '"a',
        "; ",
        "a; ",
        ", ",
        "://",
        "/o/",
        "Bearer ",
    ]
    yield from product(("", "a", "0"), letters, ("", "\x00", '"'))
    for _ in range(SAMPLES):
        before, unit = (
            "".join(dice.choices(letters, k=dice.randint(least, 3))) for least in (0, 1)
        )
        yield before, unit, dice.choice(("", "\x00", '"', "é", "!", "@", "\n"))


def seconds(reader: Reader, text: str) -> float:
    began = time.process_time()
    reader.read(text)
    return time.process_time() - began


def grows_too_fast(reader: Reader, before: str, unit: str, after: str) -> bool:
    """Time and again: a machine may be busy with other things once."""

    def grows() -> bool:
        if any(seconds(reader, before + unit * times + after) > SHORT_MAX_S for times in SHORT):
            return True
        most = of_length(4 * LENGTH)
        if most <= NOISE_S:
            return False
        more = of_length(2 * LENGTH)
        return most > GROWTH_MAX * more and more > GROWTH_MAX * of_length(LENGTH)

    def of_length(length: int) -> float:
        return seconds(reader, before + unit * (length // len(unit)) + after)

    return all(grows() for _ in range(TRIES))


@pytest.mark.parametrize("reader", FOUND, ids=[reader.where for reader in FOUND])
def test_twice_as_much_is_read_in_about_twice_the_time(reader: Reader) -> None:
    slow = [case for case in hostile(reader.pattern.pattern) if grows_too_fast(reader, *case)]
    assert not slow, f"{reader.where}: {slow[:3]}"


def test_all_patterns_over_text_from_outside_are_among_them() -> None:
    found = {reader.where.partition(":")[0] for reader in FOUND}
    assert found >= {
        "config.web.gathering",
        "config.logs",
        "config.web.middleware",
        "api.shapes.requests.texts",
        "api.shapes.requests.webhooks",
        "values.urls",
        "orders.imports.inputs",
        "orders.payments.stripe_events",
        "orders.reports.days",
        "values.addresses",
        "values.identity",
        "values.strict_json",
        "api.conventions.prefer_wait",
    }


@pytest.mark.parametrize(
    "planted",
    [
        r"[ \t]*(?:\w+(?:[ \t]*;[ \t]*(?:\w+)?)*)?[ \t]*(?:,|$)",  # much as `Prefer` was read once
        r"(?:[a-z]+)*!",
        r"[ -~]*[0-9a-z]*$",
    ],
)
def test_one_that_can_be_read_in_many_ways_is_found(planted: str) -> None:
    reader = Reader("planted", re.compile(planted), "match")
    assert any(grows_too_fast(reader, *case) for case in hostile(planted))
