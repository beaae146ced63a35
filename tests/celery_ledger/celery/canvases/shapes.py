"""Shapes of canvases: drawn from a seed, written as JSON, and built with the tasks of an app."""

import random
from collections.abc import Iterator
from typing import Any

from celery import Celery, chain, chord, group
from celery.canvas import Signature

Shape = list[Any]  # ["task"] | ["chain", steps] | ["group", members] | ["chord", header, body]
DEPTH_MAX, WIDTH_MAX = 3, 3


def shapes(seed: int) -> Iterator[Shape]:
    dice = random.Random(seed)
    while True:
        yield _shape(dice, DEPTH_MAX)


def _shape(dice: random.Random, depth: int) -> Shape:
    kind = dice.choice(("chain", "group", "chord", "task")) if depth else "task"
    if kind == "task":
        return ["task"]
    members = [_shape(dice, depth - 1) for _ in range(dice.randint(1, WIDTH_MAX))]
    return [kind, members] if kind != "chord" else [kind, members, _shape(dice, depth - 1)]


def build(app: Celery, shape: Shape) -> Signature:
    """The canvas of this shape. Its tasks are numbered in their order. The first task of a chain
    takes no argument, a later one the result of the task before it.
    """
    return _build(app, shape, iter(range(10_000)), is_first=True)


def _build(app: Celery, shape: Shape, numbers: Iterator[int], *, is_first: bool) -> Signature:
    kind, *parts = shape
    if kind == "task":
        number = next(numbers)
        return app.tasks["first"].si(number) if is_first else app.tasks["later"].s(number)
    members = [
        _build(app, part, numbers, is_first=is_first and (index == 0 or kind != "chain"))
        for index, part in enumerate(parts[0])
    ]
    if kind == "chain":
        return chain(*members, app=app)
    if kind == "group":
        return group(members, app=app)
    return chord(members, _build(app, parts[1], numbers, is_first=False), app=app)


def define_tasks(app: Celery) -> None:
    """Define the two tasks of the shapes. A result names its task and the task's argument."""
    app.task(name="first", lazy=False, shared=False)(first)
    app.task(name="later", lazy=False, shared=False)(later)


def first(number: int) -> list[Any]:
    return [number]


def later(before: Any, number: int) -> list[Any]:
    return [number, before]
