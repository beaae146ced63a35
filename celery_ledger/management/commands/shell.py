"""`manage.py shell` with every model and every task imported."""

from celery import current_app
from django.core.management.commands import shell


class Command(shell.Command):
    def get_auto_imports(self) -> list[str]:
        """The import paths of Django's own command (models), and those of every task."""
        current_app.loader.import_default_modules()
        tasks = [
            f"{task.__module__}.{task.__name__}"
            for name, task in sorted(current_app.tasks.items())
            if not name.startswith("celery.")
        ]
        return [*(super().get_auto_imports() or []), *tasks]
