from django.contrib import admin
from django.urls import include, path
from django.utils.translation import gettext_lazy as _

from api import well_known
from api.app import api
from api.docs import views as docs
from api.mail_events import mail_events
from api.problems import pages
from config.web import login, metrics

admin.site.site_header = admin.site.site_title = "Kaiten"
admin.site.index_title = _("All tables, to look at")
admin.site.site_url = "/ops/"

urlpatterns = [
    path("metrics", metrics.metrics),
    path(".well-known/webhooks/<uuid:endpoint_id>/jwks.json", well_known.webhook_keys),
    path("anymail/<slug:name>/tracking/", mail_events),
    path("v1/docs", docs.page, name="docs"),
    path("v1/openapi.json", docs.document, name="openapi"),
    path("v1/", api.urls),
    path("problems/", pages.every, name="problems"),
    path("problems/<slug:slug>", pages.one, name="problem"),
    path("admin/login/", login.login),
    path("admin/", admin.site.urls),
    path("ops/", include("ops.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("demo.urls")),
]

handler400 = "config.web.error_pages.bad_request"
handler403 = "config.web.error_pages.permission_denied"
handler404 = "config.web.error_pages.page_not_found"
handler500 = "config.web.error_pages.server_error"
