from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from jobs.models import Job, Worker


class LookOnlyAdmin(admin.ModelAdmin):
    """Rows to look at. They change through their verbs, which keep their promises; a form would not."""

    show_full_result_count = False  # counting a million rows to show a page of them
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(LookOnlyAdmin):
    list_display = ("id", "task", "state", "attempts", "losses", "due_at", "created_at", "finished_at")
    list_filter = ("state", "task")
    search_fields = ("id",)
    ordering = ("-created_at",)


@admin.register(Worker)
class WorkerAdmin(LookOnlyAdmin):
    list_display = ("name", "id", "pid", "started_at", "seen_at")
    ordering = ("-seen_at",)
