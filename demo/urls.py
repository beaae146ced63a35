from django.urls import path

from demo import bank, order_page, paying, views, withdrawal
from demo.breaking.views import break_things

urlpatterns = [
    path("", views.shop, name="shop"),
    path("break/", break_things, name="break_things"),
    path("bank/<slug:charge_id>/", bank.confirm, name="bank"),
    path("o/<slug:token>/", order_page.status_page, name="status_page"),
    path("o/<slug:token>/receipt/", order_page.receipt_page, name="receipt_page"),
    path("o/<slug:token>/pay/", paying.pay_page, name="pay_page"),
    path("o/<slug:token>/withdraw/", withdrawal.withdrawal_page, name="withdrawal_page"),
]
