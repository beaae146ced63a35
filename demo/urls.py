from django.urls import path

from demo import views, withdrawal

urlpatterns = [
    path("", views.shop, name="shop"),
    path("o/<slug:token>/", views.status_page, name="status_page"),
    path("o/<slug:token>/withdraw/", withdrawal.withdrawal_page, name="withdrawal_page"),
]
