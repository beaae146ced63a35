from django.apps import AppConfig
from django.core.checks import register

from orders.checks import check_settings


class OrdersConfig(AppConfig):
    name = "orders"
    verbose_name = "Orders: the shop"

    def ready(self) -> None:
        register(check_settings)
