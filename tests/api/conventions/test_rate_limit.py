"""How many requests a key may make, and how it is told."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from api.auth import Key
from api.conventions.rate_limit import RateLimit
from orders.models import ApiKey, Client
from tests.shop import Api


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_quota_is_there_at_once_and_comes_back_bit_by_bit() -> None:
    clock = Clock()
    limit = RateLimit(4, 60, keys_max=10, now=clock)
    assert [limit.take(1).remaining for _ in range(4)] == [3, 2, 1, 0]
    refused = limit.take(1)
    assert (refused.remaining, refused.retry_after_s, refused.full_in_s) == (0, 15, 60)
    assert limit.take(2).retry_after_s == 0, "another key's"
    clock.now = 14.9
    assert limit.take(1).retry_after_s == 1
    clock.now = 15
    assert limit.take(1)[2:] == (0, 60, 0)
    clock.now = 1000
    assert limit.take(1).remaining == 3


@given(
    quota=st.integers(1, 1000),
    window_s=st.integers(1, 3600),
    pauses=st.lists(st.floats(0, 10), max_size=200),
)
def test_no_more_than_the_quota_and_what_came_back_is_ever_welcome(
    quota: int, window_s: int, pauses: list[float]
) -> None:
    """And whoever waits as long as it is told is welcome."""
    clock = Clock()
    limit = RateLimit(quota, window_s, keys_max=10, now=clock)
    welcome = 0
    for pause in pauses:
        clock.now += pause
        standing = limit.take(1)
        welcome += not standing.retry_after_s
        assert 0 <= standing.remaining < quota or standing.retry_after_s
        assert welcome <= quota + clock.now * quota / window_s + 1e-3
        if standing.retry_after_s:
            clock.now += standing.retry_after_s
            assert limit.take(1).retry_after_s == 0
            welcome += 1


def test_hands_at_the_same_moment_get_no_more_than_there_is() -> None:
    limit = RateLimit(100, 3600, keys_max=10, now=lambda: 0.0)
    with ThreadPoolExecutor(8) as hands:
        answers = list(hands.map(lambda _: limit.take(1).retry_after_s, range(400)))
    assert answers.count(0) == 100


def test_the_memory_is_bounded_and_keeps_those_who_came_last() -> None:
    limit = RateLimit(2, 60, keys_max=3, now=lambda: 0.0)
    for key in (1, 2, 1, 3, 4, 5):
        limit.take(key)
    assert list(limit._full_at) == [3, 4, 5]


@pytest.mark.django_db(transaction=True)
def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    shop: Client, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(Key, "limit", RateLimit(2, 60, keys_max=10, now=Clock()))
    api, other = (Api(ApiKey.objects.issue(shop, [])) for _ in range(2))
    answer = api.get("/v1/orders")
    assert (answer["RateLimit-Policy"], answer["RateLimit"]) == (
        '"default";q=2;w=60',
        '"default";r=1;t=30',
    )
    assert api.get("/v1/nothing").headers.get("RateLimit") is None
    assert api.get("/v1/orders?limit=0")["RateLimit"] == '"default";r=0;t=60', (
        "a refusal counts too"
    )
    with django_assert_num_queries(1):  # who it is
        refused = api.get("/v1/orders")
    assert (refused.status_code, refused["Retry-After"], refused.json()["type"]) == (
        429,
        "30",
        "/problems/rate-limited",
    )
    assert (refused["Content-Type"], refused["RateLimit"]) == (
        "application/problem+json",
        '"default";r=0;t=60',
    )
    assert other.get("/v1/orders").status_code == 200
    assert Api("nonsense").get("/v1/orders").headers.get("RateLimit") is None
