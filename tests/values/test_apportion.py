"""Divided money adds up, whatever the numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from values.apportion import portion, split

WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=20)


@given(WEIGHTS, st.data())
def test_shares_add_up_and_none_is_more_than_its_weight(
    weights: list[int], data: st.DataObject
) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    shares = split(amount, weights)
    assert sum(shares) == amount
    assert all(0 <= share <= weight for share, weight in zip(shares, weights, strict=True))


@given(WEIGHTS, st.integers(0, 10**12))
def test_no_share_is_a_whole_unit_off_its_exact_part(weights: list[int], amount: int) -> None:
    whole = sum(weights) or 1
    for share, weight in zip(
        split(amount, weights if sum(weights) else [1]), weights, strict=False
    ):
        if sum(weights):
            assert abs(share * whole - amount * weight) < whole


def test_the_largest_remainders_get_what_is_left_and_the_first_of_equals() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(10, [335, 333, 332]) == [4, 3, 3]
    assert split(5, [10, 0, 10]) == [3, 0, 2]
    assert split(0, [0, 0]) == [0, 0]


@pytest.mark.parametrize(("amount", "weights"), [(-1, [1]), (1, []), (1, [0]), (1, [2, -1])])
def test_what_cannot_be_divided_is_refused(amount: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot divide"):
        split(amount, weights)


@given(st.integers(0, 10**12), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_a_line_taken_apart_in_any_steps_comes_to_its_amount(amount: int, steps: list[int]) -> None:
    quantity, before, given_back = sum(steps), 0, 0
    for units in steps:
        part = portion(amount, of=quantity, before=before, units=units)
        assert part >= 0
        before, given_back = before + units, given_back + part
    assert given_back == amount
