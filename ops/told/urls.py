from django.urls import path

from ops.told import endpoints, mails, suppressed, views

DELIVERY = "told/deliveries/<uuid:delivery_id>/"
ENDPOINT = "told/endpoints/<uuid:endpoint_id>/"
MAIL = "told/mails/<str:kind>/<str:language>/"
urlpatterns = [
    path("told/", views.overview, name="told"),
    path("told/deliveries/", views.deliveries, name="deliveries"),
    path("told/replay/", views.replay, name="replay"),
    path(DELIVERY, views.delivery, name="delivery"),
    path(f"{DELIVERY}again/", views.send_again, name="send_again"),
    path(f"{DELIVERY}html/", mails.html_of_delivery, name="mail_html"),
    path(ENDPOINT, endpoints.endpoint, name="endpoint"),
    path(f"{ENDPOINT}enable/", endpoints.enable, name="enable_endpoint"),
    path(f"{ENDPOINT}test/", endpoints.test, name="test_endpoint"),
    path("told/suppressed/", suppressed.suppressed, name="suppressed"),
    path("told/suppressed/new/", suppressed.put_on, name="suppress"),
    path("told/suppressed/<int:pk>/", suppressed.one, name="suppressed_one"),
    path("told/mails/", mails.mails, name="mails"),
    path(MAIL, mails.example, name="mail_example"),
    path(f"{MAIL}html/", mails.html_of_example, name="mail_example_html"),
]
