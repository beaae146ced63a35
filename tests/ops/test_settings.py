"""Keys, shops and people on the staff pages."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client as HttpClient
from django.utils import timezone

from notifications.models import Shop
from ops.models import StaffAction
from orders.models import ApiKey, Client, Order
from orders.models.client import SCOPES
from tests.ops.browsing import log_in, text
from tests.postgres.hands import in_threads
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
BUFFERS_MAX = 1000


@pytest.fixture
def mio(django_user_model: Any) -> HttpClient:
    return log_in(django_user_model, "mio", "look", "administer")


def of(client: Client, place: str = "") -> str:
    return f"/ops/settings/{client.pk}/{place}"


def made(page: str) -> str:
    found = re.search('<pre id="key">(kaiten_[^<]+)</pre>', page)
    assert found, page
    return found[1]


def test_who_acts_on_orders_makes_no_key(shop: Client, hana: HttpClient) -> None:
    ApiKey.objects.issue(shop, ["orders:read"])
    key = ApiKey.objects.get()
    assert "orders:read" in text(hana, of(shop))
    own = f"/ops/settings/keys/{key.pk}/"
    for path in (of(shop, "key/"), of(shop, "shop/"), "/ops/settings/new/"):
        assert path not in text(hana, of(shop)) + text(hana, "/ops/settings/")
        assert hana.post(path, {"scopes": ["orders:read"], "name": "x"}).status_code == 403, path
    for path in (f"{own}revoke/", f"{own}rotate/"):
        assert hana.post(path).status_code == 403, path
    assert list(ApiKey.objects.values_list("pk", "revoked_at")) == [(key.pk, None)]


def test_a_key_is_shown_once_used_followed_by_another_and_revoked(
    shop: Client, stock: Any, mio: HttpClient
) -> None:
    stock()
    form = {"scopes": ["stock:read"], "form_id": mio.get(of(shop, "key/")).context["form_id"]}
    answer = mio.post(of(shop, "key/"), form)
    key = made(answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    again = mio.post(of(shop, "key/"), form, follow=True).content.decode()
    assert ("Nothing was made" in again, key in again) == (True, False)
    assert Api(key).get("/v1/stock").status_code == 200
    first = ApiKey.objects.get()
    assert (first.scopes, first.last_used_at is not None) == (["stock:read"], True)
    where = f"/ops/settings/keys/{first.pk}"
    form = {"form_id": mio.get(f"{where}/rotate/").context["form_id"]}
    next_one = made(mio.post(f"{where}/rotate/", form).content.decode())
    assert [Api(one).get("/v1/stock").status_code for one in (key, next_one)] == [200, 200]
    answers = in_threads(lambda one: one.post(f"{where}/revoke/", follow=True), [mio, mio])
    pages = [answer.content.decode() for answer in answers]
    assert sum("It had been revoked already. Last here: mio." in page for page in pages) == 1
    assert [Api(one).get("/v1/stock").status_code for one in (key, next_one)] == [401, 200]
    rows = StaffAction.objects.order_by("pk")
    assert [row.verb for row in rows] == ["make_key", "rotate_key", "revoke_key"]
    kept = str(list(rows.values()))
    assert (key[:12] in kept, key in kept, next_one in kept) == (True, False, False)
    journal = text(mio, "/ops/actions/")
    assert ("Make a key" in journal, f"?name={shop.name}" in journal) == (True, True)


def test_use_of_a_key_is_noted_now_and_then_and_not_each_time(api: Api, stock: Any) -> None:
    stock()
    api.get("/v1/stock")
    first = ApiKey.objects.get().last_used_at
    api.get("/v1/stock")
    assert ApiKey.objects.get().last_used_at == first
    long_ago = timezone.now() - timedelta(hours=1)
    ApiKey.objects.update(last_used_at=long_ago)
    api.get("/v1/stock")
    assert ApiKey.objects.filter(last_used_at__gt=long_ago).exists()


def test_one_press_makes_a_key_that_may_do_everything(shop: Client, mio: HttpClient) -> None:
    form = {"everything": "1", "form_id": mio.get(of(shop, "key/")).context["form_id"]}
    made(mio.post(of(shop, "key/"), form).content.decode())
    assert set(ApiKey.objects.get().scopes) == set(SCOPES)


def test_a_key_without_a_scope_and_a_client_without_a_name_are_refused(
    shop: Client, mio: HttpClient
) -> None:
    for scopes in ([], ["all"]):
        answer = mio.post(of(shop, "key/"), {"scopes": scopes})
        assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["scopes"])
    for name in ("", " x", "a\u200bb", "x" * 201):
        answer = mio.post("/ops/settings/new/", {"name": name})
        assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["name"]), name
    assert mio.post("/ops/settings/new/", {"name": "寿司屋"}).status_code == 302
    assert mio.post("/ops/settings/new/", {"name": "寿司屋"}).status_code == 302
    assert Client.objects.filter(name="寿司屋").count() == 1
    assert StaffAction.objects.get().subject == "client 寿司屋"


def test_a_shop_is_set_by_field_and_of_two_at_once_one_is_told(
    placed: Order, shop: Client, mio: HttpClient, django_user_model: Any
) -> None:
    other = log_in(django_user_model, "sora", "look", "administer")
    seen = mio.get(of(shop, "shop/")).context["seen"]
    wrong = {
        "name": "a\x07",
        "time_zone": "Mars/Base",
        "reply_to": "nobody",
        "withdrawal_days": "x",
    }
    answer = mio.post(of(shop, "shop/"), {"seen": seen, **wrong})
    assert (answer.status_code, set(answer.context["form"].errors)) == (422, set(wrong))
    form = {"seen": seen, "name": "寿司屋", "imprint": "東京\r\n1-2-3", "withdrawal_days": "14"}
    assert mio.post(of(shop, "shop/"), form).status_code == 302
    assert (Shop.objects.get().imprint, Shop.objects.get().withdrawal_days) == ("東京\n1-2-3", 14)
    late = other.post(of(shop, "shop/"), {**form, "name": "late"})
    assert late.status_code == 409
    assert "The last person here was mio (Shop settings" in late.content.decode()
    assert (Shop.objects.get().name, 'value="late"' in late.content.decode()) == ("寿司屋", True)
    row = StaffAction.objects.get()
    assert (row.before["name"], row.after["name"]) == ("", "寿司屋")
    page = text(mio, of(shop))
    assert (f"/o/{placed.public_token}/" in page, "寿司屋" in page) == (True, True)
    form = {"seen": late.context["seen"], "name": "", "withdrawal_days": ""}
    assert mio.post(of(shop, "shop/"), form).status_code == 302
    assert Shop.objects.get().withdrawal_days is None


def test_people_are_shown_with_what_they_may(mio: HttpClient, django_user_model: Any) -> None:
    packer = Group.objects.create(name="Packers")
    packer.permissions.add(Permission.objects.get(codename="operate"))
    log_in(django_user_model, "ken").get("/ops/")
    django_user_model.objects.get(username="ken").groups.add(packer)
    page = text(mio, "/ops/people/")
    assert re.search(r'ken</a></td>\s*<td class="wrap">act</td>\s*<td>Packers</td>', page)
    assert "look, change keys and settings" in page


def test_japanese_staff_read_japanese_and_no_page_is_dear(
    placed: Order, shop: Client, mio: HttpClient
) -> None:
    mio.cookies["django_language"] = "ja"
    key = ApiKey.objects.get()
    own = f"/ops/settings/keys/{key.pk}/"
    paths = ["/ops/settings/", "/ops/settings/new/", "/ops/people/", of(shop), of(shop, "key/")]
    for path in [*paths, of(shop, "shop/"), f"{own}rotate/", f"{own}revoke/"]:
        page = text(mio, path).split("<main")[1]
        for english in (
            "Settings",
            "Client",
            "client",
            "Key",
            "key ",
            "Shop",
            "May",
            "People",
            "Make",
        ):
            assert english not in page.replace('id="keys', ""), (path, english)
        plans = plans_of(lambda path=path: mio.get(path))  # type: ignore[misc]
        assert sum(plan.buffers for plan in plans) < BUFFERS_MAX, path
