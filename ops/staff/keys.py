"""What staff do to a client's keys; each leaves a StaffAction. A key stands on one page, once, and
in no row.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.db import transaction
from django.http import QueryDict
from django.utils.translation import gettext_lazy

from ops.models import StaffAction
from orders.models import ApiKey, Client
from orders.models.client import CLIENT_NAME_MAX_CHARS, SCOPES


class KeyForm(forms.Form):
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do"),
        choices=[(scope, scope) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, data: QueryDict | None = None) -> None:
        """`everything` in it stands for all scopes."""
        if data is not None and "everything" in data:
            data = data.copy()
            data.setlist("scopes", list(SCOPES))
        super().__init__(data)


class ClientForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name of the client"), max_length=CLIENT_NAME_MAX_CHARS, strip=False
    )


def subject_of(client: Client) -> str:
    """The subject under which actions on this client are kept."""
    return f"client {client.name}"


def introduce(name: str, *, by: Any) -> Client:
    """Make a client of that name; one that is there is left as it is. Raises a 422 problem."""
    with transaction.atomic():
        client, is_new = Client.objects.know(name)
        if is_new:
            StaffAction.note(by, "new_client", subject_of(client))
    return client


def make(client: Client, scopes: list[str], *, by: Any) -> str:
    """Make a key, in the caller's transaction. It is returned here and can never be read again."""
    key = ApiKey.objects.issue(client, scopes)
    noted = {"key": _beginning(key), "scopes": ", ".join(scopes)}
    StaffAction.note(by, "make_key", subject_of(client), said=noted)
    return key


def rotate(old: ApiKey, *, by: Any) -> str | None:
    """Make a key with the same scopes, in the caller's transaction; None when the old one was
    revoked meanwhile.
    """
    key = ApiKey.objects.rotate(old.pk)
    if key is not None:
        noted = {"key": _beginning(key), "like": old.prefix}
        StaffAction.note(by, "rotate_key", subject_of(old.client), said=noted)
    return key


def revoke(key: ApiKey, *, by: Any) -> bool:
    """Revoke the key; False when somebody was faster."""
    with transaction.atomic():
        is_mine = ApiKey.objects.revoke(key.pk)
        if is_mine:
            StaffAction.note(by, "revoke_key", subject_of(key.client), said={"key": key.prefix})
    return is_mine


def keys_of(client_id: UUID, *, limit: int) -> list[ApiKey]:
    """Keys of a client: those that are not revoked first, and the newest first of both."""
    keys = ApiKey.objects.filter(client=client_id)
    live = keys.filter(revoked_at=None).order_by("-pk")[:limit]
    gone = keys.exclude(revoked_at=None).order_by("-pk")[:limit]
    return [*live, *gone][:limit]


def _beginning(key: str) -> str:
    """So much of it as tells keys apart and opens nothing."""
    return key[:12]
