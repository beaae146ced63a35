from django.contrib import admin
from django.urls import include, path

from config import health
from config.api import api

urlpatterns = [
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("v1/", api.urls),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("orders.urls")),
]
