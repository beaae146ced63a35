from django.urls import include, path

from ops.belt import views as belt

app_name = "ops"
urlpatterns = [
    path("", belt.belt, name="belt"),
    path("", include("ops.orders.urls")),
    path("", include("ops.jobs.urls")),
    path("", include("ops.told.urls")),
    path("", include("ops.stock.urls")),
    path("", include("ops.files.urls")),
    path("", include("ops.report.urls")),
    path("", include("ops.staff.urls")),
]
