"""Strange words in the addresses of the staff pages: each is answered, none with a 500, and a place
in a list that cannot be read is not quietly its beginning.
"""

from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.test import Client as HttpClient

from orders.models import Client, Stock
from tests.orders.imports.files import as_csv, cells
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO, NAIVE = "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00"
STRANGE = ["\x00", "\ud800", "9" * 400, "-1", "[]", "a\u200bb", "²", LONG_AGO, NAIVE, "9999999d"]
STRANGE += [f",{moment},{uuid4()}" for moment in (NAIVE, LONG_AGO, "9999-12-31T23:59:59-14:00")]
PARAMETERS = {  # that each page reads
    "/ops/orders/": "q state payment_state fulfilment_state client tag first last before held",
    "/ops/jobs/": "state task queue owner about since after",
    "/ops/jobs/all/retry/": "state task queue owner about since",
    "/ops/actions/": "who before",
    "/ops/told/": "troubled well",
    "/ops/told/deliveries/": "channel state kind client since target before",
    "/ops/told/replay/?whom=mail": "whom since until everything",
    "/ops/told/mails/": "client",
    "/ops/told/suppressed/": "address before",
    "/ops/stock/": "sku low after",
    "/ops/stock/{stock}/": "before",
    "/ops/files/imports/{batch}/": "after became",
    "/ops/report/": "when client",
    "/ops/settings/": "name",
}
PLACES = {
    "/ops/orders/": "before",
    "/ops/jobs/": "after",
    "/ops/actions/": "before",
    "/ops/told/deliveries/": "before",
    "/ops/told/": "troubled",
    "/ops/told/suppressed/": "before",
    "/ops/stock/{stock}/": "before",
    "/ops/files/imports/{batch}/": "after",
}


@pytest.fixture
def batch(api: Api, shop: Client, stock: Any) -> str:
    stock()
    body, headers = as_csv([cells()]), {"Idempotency-Key": "import-1"}
    answer = api.generic("POST", "/v1/imports", body, "text/csv", headers=headers)
    return str(answer.json()["id"])


@pytest.fixture
def staff(django_user_model: Any) -> HttpClient:
    client = HttpClient(raise_request_exception=False)
    client.force_login(django_user_model.objects.create_superuser("hana"))
    return client


def address_of(page: str, batch: str) -> str:
    return page.format(stock=Stock.objects.get().pk, batch=batch)


@pytest.mark.parametrize("page", PARAMETERS)
def test_whatever_is_asked_for_is_answered(page: str, staff: HttpClient, batch: str) -> None:
    assert staff.get(address_of(page, batch), follow=True).status_code == 200
    where, join = address_of(page, batch), "&" if "?" in page else "?"
    failed = [
        (name, word)
        for name in PARAMETERS[page].split()
        for word in STRANGE
        if staff.get(f"{where}{join}{urlencode({name: word}, errors='surrogatepass')}").status_code
        not in (200, 302, 400, 404, 422)
    ]
    assert failed == []


def test_a_place_that_cannot_be_read_is_not_the_beginning(staff: HttpClient, batch: str) -> None:
    answered = [
        (page, word)
        for page, name in PLACES.items()
        for word in ("nowhere", "9" * 400, "²")
        if staff.get(address_of(page, batch), {name: word}).status_code not in (404, 422)
    ]
    assert answered == []
