from django.contrib import admin

from celery_ledger import LookOnlyAdmin
from orders.imports.models import Import, ImportFault
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
        "client",
        "state",
        "payment_state",
        "held",
        "hold_reason",
        "reason",
        "total",
        "currency",
        "created_at",
    )
    list_filter = ("state", "payment_state", "held")
    list_select_related = ("client",)
    search_fields = ("number", "external_id", "email")
    ordering = ("-created_at",)
    exclude = ("public_token", "payment_token")
    inlines = (LineInline, OperationInline)


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
    list_display = ("id", "key", "amount", "currency", "status", "reason", "created_at")
    ordering = ("-created_at",)


@admin.register(Client)
class ClientAdmin(LookOnlyAdmin):
    list_display = ("name", "id", "created_at")


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
    exclude = ("ok", "failed")
    readonly_fields = ("accepted", "refused", "became")

    @admin.display(ordering="ok")
    def accepted(self, batch: Import) -> int:
        """Which is not to say that they are there."""
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
