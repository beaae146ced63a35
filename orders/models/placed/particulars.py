"""Whom an order is for, where it goes and what is noted of it: what may change while its goods and
its money stay as they are, and what is known of a person.
"""

from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from orders import snapshots

if TYPE_CHECKING:
    from orders.inputs.particulars import AddressInput, ParticularsInput


class Particulars(models.Model):
    email = models.TextField()
    customer_name = models.TextField(default="", db_default="")
    customer_phone = models.TextField(default="", db_default="")
    customer_external_id = models.TextField(default="", db_default="")  # the client's own
    shipping_address = models.JSONField(default=dict, db_default={})  # or all members
    billing_address = models.JSONField(default=dict, db_default={})
    metadata = models.JSONField(default=dict)
    note = models.TextField(default="", db_default="")  # of the staff, for the staff
    tags = ArrayField(models.TextField(), null=True)  # NULL for none: so they have no index

    class Meta:
        abstract = True

    @classmethod
    def nothing(cls) -> dict[str, Any]:
        """The columns of an order that tells nothing of a person."""
        return {field.name: field.get_default() for field in Particulars._meta.local_fields}

    @staticmethod
    def columns_of(particulars: "ParticularsInput") -> dict[str, Any]:
        """The columns of the fields that this input names, and no others."""
        customer = particulars.customer.model_dump() if particulars.customer else {}
        columns: dict[str, dict[str, Any]] = {
            "email": {"email": particulars.email},
            "customer": {
                f"customer_{name}": customer.get(name) or ""
                for name in ("name", "phone", "external_id")
            },
            "shipping_address": {"shipping_address": _members(particulars.shipping_address)},
            "billing_address": {"billing_address": _members(particulars.billing_address)},
            "metadata": {"metadata": particulars.metadata},
            "note": {"note": particulars.note or ""},
            "tags": {"tags": particulars.tags or None},
        }
        return {
            name: value
            for field in particulars.model_fields_set & columns.keys()
            for name, value in columns[field].items()
        }

    def news_in(self, particulars: "ParticularsInput") -> dict[str, Any]:
        """The columns that this input would change, with their new values."""
        columns = self.columns_of(particulars)
        return {name: value for name, value in columns.items() if getattr(self, name) != value}

    def particulars(self) -> snapshots.Particulars:
        customer: snapshots.Customer = {
            "name": self.customer_name or None,
            "phone": self.customer_phone or None,
            "external_id": self.customer_external_id or None,
        }
        return {
            "email": self.email,
            "customer": customer if any(customer.values()) else None,
            "shipping_address": self.shipping_address or None,
            "billing_address": self.billing_address or None,
            "metadata": self.metadata,
            "note": self.note or None,
            "tags": self.tags or [],
        }


def _members(address: "AddressInput | None") -> dict[str, str | None]:
    """All members of an address; none at all where all of them are empty."""
    members = address.model_dump() if address else {}
    if not any(members.values()):
        return {}
    return {name: text or None for name, text in members.items()}
