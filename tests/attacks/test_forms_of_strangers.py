"""What is open to everybody: the demo shop, which is closed unless it is opened, and the page to
log in.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from axes.models import AccessAttempt
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client as HttpClient
from django.utils import timezone

from config.web import login
from demo.menu import mailbox
from orders.models import Order, Stock

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "a long enough password"


# --- the demo shop --------------------------------------------------------------------------------


@pytest.fixture
def open_shop(settings: Any) -> None:
    settings.DEMO_SHOP, settings.DEMO_ORDERS_PER_HOUR, settings.DEMO_ORDERS_PER_ADDRESS = True, 8, 3
    call_command("seed", stdout=StringIO())


def order(email: str, **changes: str) -> Any:
    fields = {
        "form_id": str(uuid4()),
        "email": email,
        "token": "tok_ok",
        "SAKE-NIGIRI": "1",
        **changes,
    }
    return HttpClient().post("/", fields)


def test_without_debug_it_is_closed_and_takes_nothing(settings: Any) -> None:
    settings.DEMO_SHOP = False
    page = HttpClient().get("/")
    assert (page.status_code, b"The demo shop is closed" in page.content) == (200, True)
    assert order("stranger@example.com").status_code == 403
    assert Order.objects.count() == 0
    with pytest.raises(CommandError, match="The demo shop is closed here"):
        call_command("seed")
    assert Stock.objects.count() == 0


def test_it_writes_to_nobody_more_often_than_a_person_orders(open_shop: None) -> None:
    """25 posts in 3.7 s once sent a stranger 50 mails."""
    statuses = [
        order(email).status_code
        for email in ("A@example.com", "a@example.com", "a+1@Example.com", "a@example.com")
    ]
    assert statuses == [303, 303, 303, 429]
    assert order("b@example.com").status_code == 303


def test_it_takes_so_many_orders_an_hour_from_all_together(open_shop: None) -> None:
    statuses = [order(f"{name}@example.com").status_code for name in "abcdefghij"]
    assert statuses == [303] * 8 + [429] * 2


def test_the_same_form_sent_again_leads_to_its_order_all_the_same(open_shop: None) -> None:
    form = str(uuid4())
    first = order("a@example.com", form_id=form)
    for _ in range(2):
        order("a@example.com")
    assert order("a@example.com").status_code == 429
    again = order("a@example.com", form_id=form)
    assert (again.status_code, again["Location"]) == (303, first["Location"])


def at_once(act: Callable[[int], int], hands: int) -> list[int]:
    together = threading.Barrier(hands)

    def one(number: int) -> int:
        try:
            together.wait(timeout=10)
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(hands) as pool:
        return sorted(pool.map(one, range(hands)))


def test_eight_forms_at_once_are_counted_one_after_another(open_shop: None) -> None:
    assert at_once(lambda _: order("a@example.com").status_code, 8) == [303] * 3 + [429] * 5


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("ann+shop@example.com", "Ann@EXAMPLE.com"),
        ("+@x.org", "@x.org"),
        ("a.b@example.com", "a.b@example.com"),
        ("hans@Straße.de", "hans@xn--strae-oqa.de"),
    ],
)
def test_addresses_of_one_mailbox_are_one(address: str, same: str) -> None:
    assert mailbox(address) == mailbox(same)


# --- logging in -----------------------------------------------------------------------------------


@pytest.fixture
def staff(django_user_model: Any, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 4
    for name in ("ann", "ben"):
        django_user_model.objects.create_superuser(name, password=PASSWORD)


def log_in(name: str, password: str, *, address: str = "203.0.113.1", router: str = "") -> Any:
    """`router`: what the client itself has said before the router added its address."""
    forwarded = ", ".join(filter(None, [router, address]))
    return HttpClient().post(
        "/admin/login/?next=/admin/",
        {"username": name, "password": password},
        headers={"X-Forwarded-For": forwarded},
    )


def test_a_person_logs_in_and_may_err_a_few_times(staff: None) -> None:
    assert [log_in("ann", "wrong").status_code for _ in range(3)] == [200] * 3
    assert log_in("ann", PASSWORD).status_code == 302
    assert [log_in("ann", "wrong").status_code for _ in range(3)] == [200] * 3, (
        "the right one has made up for them"
    )


def test_who_guesses_is_stopped_by_address_whatever_the_name(staff: None) -> None:
    for number in range(4):
        log_in(f"somebody-{number}", "wrong")
    refused = log_in("ann", PASSWORD)
    assert (refused.status_code, refused["Retry-After"]) == (429, "600")
    assert b"Try again in 10 minutes" in refused.content
    assert log_in("ann", PASSWORD, address="203.0.113.2").status_code == 302, "others are not"


def test_who_guesses_is_stopped_by_name_whatever_the_address(staff: None) -> None:
    for number in range(4):
        log_in("ann", "wrong", address=f"203.0.113.{number}")
    assert log_in("ann", PASSWORD, address="203.0.113.9").status_code == 429
    assert log_in("ben", PASSWORD, address="203.0.113.9").status_code == 302


def test_what_a_client_says_of_its_own_address_is_not_believed(staff: None) -> None:
    for number in range(4):
        log_in(f"somebody-{number}", "wrong", router=f"198.51.100.{number}")
    assert log_in("ann", PASSWORD, router="198.51.100.99").status_code == 429


def test_few_guesses_are_free_and_one_password_is_checked_at_a_time(settings: Any) -> None:
    assert settings.AXES_FAILURE_LIMIT <= 10
    assert settings.LOGIN_PLACES <= 1


def test_after_a_while_it_is_forgotten(staff: None, settings: Any) -> None:
    for _ in range(4):
        log_in("ann", "wrong")
    assert log_in("ann", PASSWORD).status_code == 429
    first = AccessAttempt.objects.order_by("attempt_time").first()
    log_in("ann", "wrong")
    assert AccessAttempt.objects.get(pk=first.pk).attempt_time == first.attempt_time, (
        "who goes on locks nobody out"
    )
    AccessAttempt.objects.update(attempt_time=timezone.now() - settings.AXES_COOLOFF_TIME)
    assert log_in("ann", PASSWORD).status_code == 302


def test_one_password_at_a_time_is_checked(staff: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are not kept waiting: each of them would hold a thread that orders need."""
    monkeypatch.setattr(login, "_places", threading.BoundedSemaphore(1))
    at_work, go_on = threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> None:
        at_work.set()
        go_on.wait(timeout=30)

    monkeypatch.setattr("django.contrib.auth.backends.ModelBackend.authenticate", slow)

    def log_in_and_hang_up() -> int:
        status: int = log_in("ann", PASSWORD).status_code
        connection.close()
        return status

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(log_in_and_hang_up)
        assert at_work.wait(timeout=30)
        refused = log_in("ben", PASSWORD)
        go_on.set()
        assert first.result(timeout=30) == 200
    assert (refused.status_code, refused["Retry-After"]) == (429, "2")


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.1, 203.0.113.1", "203.0.113.1"),
        ("", "192.0.2.7"),
        ("nonsense", "0.0.0.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
    ],
)
def test_an_address_is_what_the_router_says(rf: Any, forwarded: str, address: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert login.client_address(rf.get("/", headers=headers, REMOTE_ADDR="192.0.2.7")) == address
