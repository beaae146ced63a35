from django.urls import path

from ops import views

app_name = "ops"
urlpatterns = [
    path("", views.belt, name="belt"),
    path("orders/", views.orders, name="orders"),
    path("orders/<uuid:order_id>/", views.order, name="order"),
    path("orders/<uuid:order_id>/<slug:slug>/", views.act, name="act"),
    path("deliveries/<uuid:delivery_id>/again/", views.send_again, name="send_again"),
    path("jobs/<uuid:job_id>/", views.job, name="job"),
    path("jobs/<uuid:job_id>/retry/", views.retry_job, name="retry_job"),
]
