"""Nine pressures on a worker that works off a steady load: each is put on and taken away, and then
everything that was promised has happened once.

`PRESSURE_S` says how long each lasts (60), `PRESSURE_SEED` how the dice fall. Asserted is that
nothing was lost and nothing doubled; how fast it went is printed.
"""

import os
import signal
from collections.abc import Iterator
from random import Random
from typing import LiteralString

import pytest

from tests.bench.pressure.belt import TABLE, TASK, Belt, Moment
from tests.bench.pressure.cell import HEAD, Cell, measured
from tests.bench.pressure.pressures import PRESSURES

SECONDS = float(os.environ.get("PRESSURE_S", "60"))
SEED = int(os.environ.get("PRESSURE_SEED", "20261129"))
BESIDE_S = max(5.0, SECONDS / 2)  # before it, and after it
SETTLE_S = 2.0
WARM_UP, WARM = 3000, 1000  # jobs; what can be done is measured after the first of them
STEADY = 0.5  # of what can be done is promised
ABLE: LiteralString = f"""
SELECT count(*) / extract(epoch FROM max(finished_at) - min(finished_at))::float8
  FROM (SELECT finished_at FROM {TABLE} WHERE task = %s ORDER BY 1 OFFSET %s) AS late"""
pytestmark = pytest.mark.timeout(3 * SECONDS + 1500)


@pytest.fixture(scope="module")
def belt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Belt]:
    """Its processes end with it, also when the bench is told to end."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    belt = Belt(tmp_path_factory.mktemp("pressure"))
    yield belt
    belt.close()
    signal.signal(signal.SIGTERM, usual)


@pytest.fixture(scope="module")
def cells() -> Iterator[list[Cell]]:
    """Those that were measured, printed as one table."""
    cells: list[Cell] = []
    yield cells
    print(f"\n\n{SECONDS:g} s of each pressure, {BESIDE_S:g} s before and after; seed {SEED}")
    print(HEAD, *cells, sep="\n")


@pytest.mark.parametrize("pressure", PRESSURES)
def test_loses_and_doubles_nothing_under(pressure: str, belt: Belt, cells: list[Cell]) -> None:
    with belt.running():
        warm_up(belt)
        strikes, moments = pressed(belt, pressure)
        promised = belt.committed()
        belt.drain()
        cell = measured(belt, pressure, strikes, moments, promised)
    cells.append(cell)
    assert strikes, "nothing pressed"
    assert (cell.lost, cell.doubled) == (0, 0)


def warm_up(belt: Belt) -> None:
    """Until it works off a steady load: a share of what it can do."""
    belt.tell("burst", WARM_UP)
    belt.wait_for_jobs(WARM_UP)
    belt.drain()
    [belt.able_per_s] = belt.figures(ABLE, TASK, WARM)
    belt.steady_per_s = STEADY * belt.able_per_s
    belt.tell("pace", belt.steady_per_s)
    belt.rest(SETTLE_S)


def pressed(belt: Belt, pressure: str) -> tuple[int, list[Moment]]:
    """How often it struck; when it was quiet before, when it began, when it was taken away, and
    when the quiet after that ended.
    """
    moments = [belt.moment()]
    belt.rest(BESIDE_S)
    moments.append(belt.moment())
    strikes = PRESSURES[pressure](belt, SECONDS, Random(SEED))
    moments.append(belt.moment())
    belt.rest(BESIDE_S)
    moments.append(belt.moment())
    return strikes, moments
