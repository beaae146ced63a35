from django.urls import path

from demo import views

urlpatterns = [
    path("", views.shop, name="shop"),
    path("o/<slug:token>/", views.status_page, name="status_page"),
]
