"""`manage.py jobs list --about ORDER`: the jobs of an order, by what a person calls it."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from celery_ledger.testing import work_off
from orders.models import Order
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)


def tasks_about(name: str) -> set[str]:
    output = StringIO()
    call_command("jobs", "list", "--json", "--about", name, stdout=output)
    return {json.loads(line)["task"] for line in output.getvalue().splitlines()}


def test_an_order_has_its_jobs_by_number_id_and_external_id(
    api: Api, stock: Any, order_body: Callable[..., dict[str, Any]]
) -> None:
    stock()
    for name in ("till-17", "till-18"):
        assert post(api, "/v1/orders", order_body(external_id=name)).status_code == 202
    work_off()
    order = Order.objects.get(external_id="till-17")
    names = (order.number, order.number.lower().replace("-", ""), str(order.pk), " till-17 ")
    found = [tasks_about(name) for name in names]
    assert found == [found[0]] * 4
    assert {name.rpartition(".")[2] for name in found[0]} >= {"reserve", "charge", "send_mail"}
    with pytest.raises(CommandError, match="Nothing is known by the name 'till-19'"):
        tasks_about("till-19")
