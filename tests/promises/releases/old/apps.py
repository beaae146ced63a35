from django.apps import AppConfig


class PackingConfig(AppConfig):
    name = "tests.promises.releases.old"
    label = "packing"
