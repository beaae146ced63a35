from django.apps import AppConfig


class PackingConfig(AppConfig):
    name = "tests.promises.dynos.releases.old"
    label = "packing"
