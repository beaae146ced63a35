from django.urls import path

from ops.report import views

urlpatterns = [
    path("report/", views.report, name="report"),
    path("report/csv/", views.as_csv, name="report_csv"),
]
