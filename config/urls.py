from django.contrib import admin
from django.urls import include, path

from config import docs, login, metrics, problem_pages
from config.api import api

urlpatterns = [
    path("metrics", metrics.metrics),
    path("v1/docs", docs.page, name="docs"),
    path("v1/", api.urls),
    path("problems/", problem_pages.every, name="problems"),
    path("problems/<slug:slug>", problem_pages.one, name="problem"),
    path("admin/login/", login.login),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("orders.urls")),
]

handler400 = "config.error_pages.bad_request"
handler403 = "config.error_pages.permission_denied"
handler404 = "config.error_pages.page_not_found"
handler500 = "config.error_pages.server_error"
