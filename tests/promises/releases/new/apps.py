from django.apps import AppConfig


class PackingConfig(AppConfig):
    name = "tests.promises.releases.new"
    label = "packing"
