from django.urls import path

from ops.staff import views

urlpatterns = [path("actions/", views.actions, name="actions")]
