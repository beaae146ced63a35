"""A member of staff at the pages."""

from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client as HttpClient

from orders.models import Order


def log_in(user_model: Any, name: str, *permissions: str) -> HttpClient:
    user = user_model.objects.create_user(name)
    for permission in permissions:
        user.user_permissions.add(Permission.objects.get(codename=permission))
    client = HttpClient()
    client.force_login(user)
    return client


def page_of(order: Order, verb: str = "") -> str:
    return f"/ops/orders/{order.pk}/{verb + '/' if verb else ''}"


def text(client: HttpClient, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status, response.content
    return response.content.decode()
