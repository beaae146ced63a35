"""The orders of a list as files: the same export that the API begins."""

from datetime import datetime
from typing import Any

from django.db import transaction

from ops.models import StaffAction
from orders.exports import tasks
from orders.imports.files.reading import Format
from orders.models import Client, Export


def begin_export(client: Client, filters: dict[str, Any], *, by: Any) -> Export:
    """An export of the client's orders that fit these filters; one that runs already is not begun
    again but returned. Raises Refused when too many run.
    """
    stored = {name: _json(value) for name, value in filters.items()}
    with transaction.atomic():
        Client.objects.locked(client.pk)
        running = Export.objects.of(client).filter(finished_at=None, filters=stored)
        if export := running.first():
            return export
        export = Export.objects.begin(client, stored, form=Format.CSV, bom=True)
        tasks.begin(export)
        # what was looked for may name a person, which is kept in the export alone
        noted = {"shop": client.name, "filters": ", ".join(sorted(stored))}
        StaffAction.note(by, "export", f"export {export.pk}", said=noted)
    return export


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
