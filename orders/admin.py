from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import pgettext_lazy

from celery_ledger import LookOnlyAdmin
from notifications.models import Shop
from orders.imports.models import Import, ImportFault
from orders.inputs.shop import FIELDS, typed
from orders.models import (
    ApiKey,
    Client,
    Order,
    OrderLine,
    PaymentOperation,
    SandboxCharge,
    Stock,
    StockMovement,
)
from values import money
from values.refused import Refused


class LineInline(admin.TabularInline):
    model = OrderLine
    extra = 0
    can_delete = False


class OperationInline(admin.TabularInline):
    model = PaymentOperation
    exclude = ("action",)
    extra = 0
    can_delete = False


@admin.register(Order)
class OrderAdmin(LookOnlyAdmin):
    list_display = (
        "number",
        "standing",
        "payment_state",
        "amount",
        "customer_name",
        "email",
        "client",
        "external_id",
        "created_at",
    )
    list_filter = ("state", "payment_state", "held")
    list_select_related = ("client",)
    search_fields = ("number", "external_id", "email")
    ordering = ("-created_at",)
    exclude = ("public_token", "payment_token")
    inlines = (LineInline, OperationInline)

    @admin.display(description=pgettext_lazy("column", "state"), ordering="state")
    def standing(self, order: Order) -> str:
        return f"{order.state}, on hold: {order.hold_reason}" if order.held else order.state

    @admin.display(description=pgettext_lazy("column", "total"), ordering="total")
    def amount(self, order: Order) -> str:
        return money.written(order.total, order.currency)

    def view_on_site(self, order: Order) -> str:
        """The address of the order's staff page: there it is acted on."""
        return f"/ops/orders/{order.pk}/"


@admin.register(Stock)
class StockAdmin(LookOnlyAdmin):
    list_display = ("sku", "name", "on_hand", "reserved", "available")
    search_fields = ("sku", "name")
    ordering = ("sku",)


@admin.register(StockMovement)
class StockMovementAdmin(LookOnlyAdmin):
    list_display = ("stock", "order", "kind", "on_hand_delta", "reserved_delta", "created_at")
    list_select_related = ("stock", "order")
    ordering = ("-id",)


@admin.register(SandboxCharge)
class SandboxChargeAdmin(LookOnlyAdmin):
    list_display = ("id", "money", "status", "reason", "key", "created_at")
    ordering = ("-created_at",)

    @admin.display(description=pgettext_lazy("column", "amount"), ordering="amount")
    def money(self, charge: SandboxCharge) -> str:
        return money.written(charge.amount, charge.currency)


@admin.register(Client)
class ClientAdmin(LookOnlyAdmin):
    list_display = ("name", "id", "created_at")


class ShopForm(forms.ModelForm):
    """Fields as texts, by the rule of `manage.py shop set`, which takes them too."""

    name = forms.CharField(required=False)
    logo_url = forms.CharField(required=False)
    contact = forms.CharField(required=False, widget=forms.Textarea)
    imprint = forms.CharField(required=False, widget=forms.Textarea)
    time_zone = forms.CharField(required=False)
    language = forms.CharField(required=False)
    reservation_minutes = forms.CharField(required=False)
    withdrawal_days = forms.CharField(required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for column in Shop._meta.fields:
            if column.name in FIELDS:
                self.fields[column.name].label = capfirst(column.verbose_name)

    def clean(self) -> None:
        texts = {name: self.cleaned_data[name].replace("\r\n", "\n") for name in FIELDS}
        try:
            self.cleaned_data["typed"] = typed(texts)
        except Refused as exc:
            for pointer, message in exc.errors:
                self.add_error(pointer[1:], message)


class NewShopForm(ShopForm):
    owner = forms.ModelChoiceField(
        Client.objects.order_by("name"), label=pgettext_lazy("column", "client")
    )

    def clean_owner(self) -> Any:
        owner = self.cleaned_data["owner"].pk
        if Shop.objects.filter(pk=owner).exists():
            raise forms.ValidationError("has its row already; change that")
        return owner


@admin.register(Shop)
class ShopAdmin(LookOnlyAdmin):
    """The shop of a client; a field that is empty is as the installation has it."""

    list_display = ("name", "client", "language", "time_zone")

    @admin.display(description=pgettext_lazy("column", "client"))
    def client(self, shop: Shop) -> str:
        return Client.objects.get(pk=shop.owner).name

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("client",) if obj else ()

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("owner",) if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = ShopForm if obj else NewShopForm
        return super().get_form(request, obj, change, form=form, **kwargs)

    def save_model(self, request: HttpRequest, obj: Shop, form: Any, change: bool) -> None:
        Shop.objects.change(obj.owner, form.cleaned_data["typed"])


@admin.register(ApiKey)
class ApiKeyAdmin(LookOnlyAdmin):
    list_display = ("prefix", "client", "scopes", "created_at", "revoked_at")
    list_select_related = ("client",)
    exclude = ("digest",)


@admin.register(Import)
class ImportAdmin(LookOnlyAdmin):
    list_display = (
        "id",
        "client",
        "form",
        "state",
        "total",
        "accepted",
        "refused",
        "created_at",
        "finished_at",
    )
    list_select_related = ("client",)
    ordering = ("-created_at",)
    exclude = ("ok", "failed", "ways", "ways_until")
    readonly_fields = ("accepted", "refused", "became")

    @admin.display(ordering="ok")
    def accepted(self, batch: Import) -> int:
        """Orders that were accepted; some of them may have been cancelled since."""
        return batch.ok

    @admin.display(ordering="failed")
    def refused(self, batch: Import) -> int:
        return batch.failed

    def became(self, batch: Import) -> str:
        ways = batch.counts()["became"].items()
        return ", ".join(f"{number} {way.replace('_', ' ')}" for way, number in ways if number)


@admin.register(ImportFault)
class ImportFaultAdmin(LookOnlyAdmin):
    list_display = ("batch", "line", "external_id", "field", "reason")
    list_select_related = ("batch",)
    search_fields = ("external_id",)
