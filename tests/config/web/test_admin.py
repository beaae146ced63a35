import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.test import Client as HttpClient
from django.urls import reverse
from django.utils import translation

from celery_ledger.testing import work_off
from demo.management.commands.seed import Command as Seed
from notifications.models import Shop
from orders.imports.models import Import
from orders.models import Client, Order
from tests.orders.imports.files import as_csv, cells
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)

OURS = ("orders", "celery_ledger", "notifications")


@pytest.fixture
def staff(django_user_model: Any) -> HttpClient:
    client = HttpClient()
    client.force_login(django_user_model.objects.create_superuser("a"))
    return client


def test_staff_may_look_at_every_row_and_change_none(
    staff: HttpClient, api: Api, stock: Any, order_body: Any
) -> None:
    stock()
    api.place(order_body())
    work_off()
    ours = [model for model in admin.site._registry if model._meta.app_label in OURS]
    assert len(ours) >= 10
    for model in set(ours) - {Shop}:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert staff.get(reverse(f"{name}_changelist")).status_code == 200
        assert staff.get(reverse(f"{name}_add")).status_code == 403
        for row in model._default_manager.all()[:1]:
            page = staff.get(reverse(f"{name}_change", args=[quote(row.pk)]))
            assert page.status_code == 200
            assert b'name="_save"' not in page.content
    assert Order.objects.get().public_token not in staff.get("/admin/orders/order/").text


SHOPS = "/admin/notifications/shop/"


def test_staff_say_what_a_shop_says_by_the_rule_of_the_command(
    staff: HttpClient, shop: Client
) -> None:
    form = {"owner": str(shop.pk), "name": "寿司屋", "imprint": "Sushi Ya\r\nBerlin"}
    assert staff.post(f"{SHOPS}add/", {**form, "withdrawal_days": "14"}).status_code == 302
    own = Shop.objects.get()
    assert (own.pk, own.name, own.imprint) == (shop.pk, "寿司屋", "Sushi Ya\nBerlin")
    assert (own.withdrawal_days, own.reservation_minutes) == (14, None)
    assert "has its row already" in staff.post(f"{SHOPS}add/", form).text
    assert '<td class="field-client">shop</td>' in staff.get(SHOPS).text
    path = f"{SHOPS}{shop.pk}/change/"
    assert 'value="寿司屋"' in staff.get(path).text
    wrong = {"language": "fr", "reservation_minutes": "soon", "time_zone": "Asia/Edo"}
    page = staff.post(path, wrong).text
    for message in ("must be en or ja", "must be a time zone like", "must be a whole number"):
        assert message in page
    own.refresh_from_db()
    assert (own.name, own.withdrawal_days) == ("寿司屋", 14)
    assert staff.post(path, {"language": "ja", "reservation_minutes": "90"}).status_code == 302
    own.refresh_from_db()
    assert (own.name, own.language, own.reservation_minutes) == ("", "ja", 90)
    assert (own.withdrawal_days, staff.get(f"{SHOPS}{shop.pk}/delete/").status_code) == (None, 403)


def test_the_tables_bear_our_name_and_amounts_their_currency(
    staff: HttpClient, api: Api, stock: Any, order_body: Any
) -> None:
    stock()
    api.place(order_body())
    order = Order.objects.get()
    order.hold("requested")
    page = staff.get("/admin/orders/order/").text
    assert "¥660" in page
    assert "received, on hold: requested" in page
    assert "icon-no" not in page
    page = staff.get(f"/admin/orders/order/{order.pk}/change/").text
    assert f'href="/ops/orders/{order.pk}/"' in page
    assert '<a href="/ops/">' in page
    assert "<title>" in page
    assert "Kaiten" in page


def test_each_table_and_column_has_its_name_in_japanese(
    staff: HttpClient, api: Api, stock: Any, order_body: Any
) -> None:
    registered = [model for model in admin.site._registry if model._meta.app_label in OURS]
    inlines = [each.model for model in registered for each in admin.site._registry[model].inlines]
    with translation.override("ja"):
        names = {
            str(name)
            for model in (*registered, *inlines)
            for it in (model._meta, *model._meta.fields)
            for name in (it.verbose_name, getattr(it, "verbose_name_plural", it.verbose_name))
        }
    assert len(names) > 100
    assert {name for name in names if name.isascii()} == {"ID", "SKU", "URL"}
    stock()
    api.place(order_body())
    staff.cookies["django_language"] = "ja"
    page = staff.get("/admin/orders/order/").text
    for word in ("注文", "支払いの状態", "お客様の名前", "合計", "作成日時"):
        assert word in page
    assert "出来事" in staff.get("/admin/").text


def test_whoever_may_only_look_at_shops_changes_none(shop: Client, django_user_model: Any) -> None:
    looker = django_user_model.objects.create_user("l", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_shop"))
    client = HttpClient()
    client.force_login(looker)
    Shop.objects.change(shop.pk, {"name": "Ya"})
    assert client.get(SHOPS).status_code == 200
    assert client.get(f"{SHOPS}add/").status_code == 403
    assert client.post(f"{SHOPS}{shop.pk}/change/", {"name": "No"}).status_code == 403
    assert Shop.objects.get().name == "Ya"


def test_a_look_at_an_import_does_not_take_accepted_for_there(
    staff: HttpClient, api: Api, stock: Any
) -> None:
    stock(on_hand=0)
    file, headers = as_csv([cells()]), {"Idempotency-Key": "import-1"}
    api.generic("POST", "/v1/imports", file, "text/csv", headers=headers)
    work_off(ahead=timedelta(days=1))
    list_page = staff.get("/admin/orders/import/").text
    assert ("column-accepted" in list_page, "column-ok" in list_page) == (True, False)
    page = staff.get(f"/admin/orders/import/{Import.objects.get().pk}/change/").text
    assert "1 sold out" in page


def test_what_no_page_offers_is_not_asked_of_postgres(staff: HttpClient) -> None:
    pages = [admin_page(model) for model in admin.site._registry if model._meta.app_label in OURS]
    assert len(pages) >= 10
    for page in pages:
        for lookup in ("created_at__year=99999999999", "at__year=0", "id__in=" + "1," * 9999):
            assert staff.get(f"{page}?{lookup}").status_code in (302, 400), (page, lookup)
    assert staff.get("/admin/orders/order/?state__exact=received").status_code == 200


def admin_page(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def test_seeding_twice_changes_nothing_and_keeps_the_secrets(tmp_path: Path) -> None:
    kept = tmp_path / "local" / "demo.json"
    Seed().handle(secrets=kept)
    first = kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    Seed().handle(secrets=kept)
    assert kept.read_text() == first


def test_seeding_leaves_somebody_whose_password_was_changed_as_they_are(
    tmp_path: Path, django_user_model: Any
) -> None:
    kept = tmp_path / "demo.json"
    Seed().handle(secrets=kept)
    staff = django_user_model.objects.get()
    staff.set_password("a password of their own")
    staff.save()
    Seed().handle(secrets=kept)
    assert django_user_model.objects.get().pk == staff.pk
    assert django_user_model.objects.get().check_password("a password of their own")
    assert json.loads(kept.read_text())["password"] is None


def test_seeding_takes_a_torn_file_of_secrets_for_none(tmp_path: Path) -> None:
    kept = tmp_path / "demo.json"
    kept.write_text('{"api_')
    Seed().handle(secrets=kept)
    assert set(json.loads(kept.read_text())) == {"api_key", "username", "password"}
