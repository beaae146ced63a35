from django.contrib import admin

from celery_ledger import LookOnlyAdmin
from notifications.models import Attempt, Delivery, Endpoint, Event, Suppression


class AttemptInline(admin.TabularInline):
    model = Attempt
    extra = 0
    can_delete = False
    readonly_fields = ("ok", "answer", "duration_ms", "body", "request_headers", "at")


@admin.register(Event)
class EventAdmin(LookOnlyAdmin):
    list_display = ("kind", "subject", "seq", "at")
    list_filter = ("kind",)
    search_fields = ("subject",)
    ordering = ("-at",)


@admin.register(Delivery)
class DeliveryAdmin(LookOnlyAdmin):
    list_display = (
        "id",
        "event",
        "channel",
        "target",
        "state",
        "tries",
        "created_at",
        "delivered_at",
    )
    list_filter = ("channel", "state")
    list_select_related = ("event",)
    ordering = ("-created_at",)
    inlines = (AttemptInline,)


@admin.register(Endpoint)
class EndpointAdmin(LookOnlyAdmin):
    list_display = (
        "url",
        "owner",
        "events",
        "payload",
        "ordered",
        "active",
        "disabled_because",
        "failing_since",
    )


@admin.register(Suppression)
class SuppressionAdmin(LookOnlyAdmin):
    list_display = ("address", "why", "since", "said", "who", "erased_at")
    list_filter = ("why",)
    search_fields = ("=address",)
    ordering = ("-id",)
