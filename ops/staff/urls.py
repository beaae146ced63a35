from django.urls import path

from ops.staff import client_views, views

urlpatterns = [
    path("actions/", views.actions, name="actions"),
    path("people/", views.people, name="people"),
    path("settings/", client_views.clients, name="settings"),
    path("settings/new/", client_views.new_client, name="new_client"),
    path("settings/<uuid:client_id>/", client_views.client, name="client"),
    path("settings/<uuid:client_id>/shop/", client_views.shop, name="shop_settings"),
    path("settings/<uuid:client_id>/key/", client_views.new_key, name="new_key"),
    path("settings/keys/<int:key_id>/rotate/", client_views.rotate, name="rotate_key"),
    path("settings/keys/<int:key_id>/revoke/", client_views.revoke, name="revoke_key"),
]
