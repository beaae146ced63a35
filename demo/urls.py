from django.urls import path

from demo import bank, views

urlpatterns = [
    path("", views.shop, name="shop"),
    path("bank/<slug:charge_id>/", bank.confirm, name="bank"),
    path("o/<slug:token>/", views.status_page, name="status_page"),
]
