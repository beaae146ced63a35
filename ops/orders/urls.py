from django.urls import path

from ops.orders import views

urlpatterns = [
    path("orders/", views.orders, name="orders"),
    path("orders/export/", views.export, name="export_orders"),
    path("orders/<uuid:order_id>/", views.order, name="order"),
    path("orders/<uuid:order_id>/<slug:slug>/", views.act, name="act"),
    path("orders/<uuid:order_id>/<slug:slug>/<uuid:part>/", views.act, name="act_part"),
]
