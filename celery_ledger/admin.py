"""Pages of Django's admin on which jobs and workers can be looked at."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from celery_ledger.models import Job, Worker


class LookOnlyAdmin(admin.ModelAdmin):
    """Pages to look at rows, and not to change them: a form would pass over what `manage.py jobs`
    and the ledger do with a change.
    """

    show_full_result_count = False  # to count a million rows for each page would take too long
    list_per_page = 50

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Whether the page itself offers this filter. Others in the address are refused, like
        `created_at__year=99999999999`.
        """
        offered = [name for name in self.get_list_filter(request) if isinstance(name, str)]
        return lookup.partition("__")[0] in offered and super().lookup_allowed(
            lookup, value, request
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(LookOnlyAdmin):
    list_display = (
        "id",
        "task",
        "state",
        "attempts",
        "losses",
        "shared_losses",
        "due_at",
        "created_at",
        "finished_at",
    )
    list_filter = ("state", "task")
    search_fields = ("id",)
    ordering = ("-created_at",)


@admin.register(Worker)
class WorkerAdmin(LookOnlyAdmin):
    list_display = ("name", "id", "pid", "started_at", "seen_at")
    ordering = ("-seen_at",)
