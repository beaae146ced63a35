"""`manage.py shell` with every model and every task imported."""

from celery import current_app
from django.core.management.commands import shell


class Command(shell.Command):
    def get_auto_imports(self) -> list[str]:
        """Django's own (the models), and the tasks of every installed app."""
        current_app.loader.import_default_modules()
        tasks = [
            f"{task.__module__}.{task.__name__}"
            for name, task in sorted(current_app.tasks.items())
            if not name.startswith("celery.")
        ]
        return [*(super().get_auto_imports() or []), *tasks]
