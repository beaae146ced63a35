"""Whom an order is for, where it goes and what is noted of it: what may change while its goods and
its money stay as they are, and what is known of a person.
"""

from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from orders import snapshots

if TYPE_CHECKING:
    from orders.order_input import AddressInput, ParticularsInput


class Particulars(models.Model):
    email = models.TextField()
    customer_name = models.TextField(default="", db_default="")
    customer_phone = models.TextField(default="", db_default="")
    customer_external_id = models.TextField(default="", db_default="")  # the client's own
    shipping_address = models.JSONField(default=dict, db_default={})  # what of it was said
    billing_address = models.JSONField(default=dict, db_default={})
    metadata = models.JSONField(default=dict)
    note = models.TextField(default="", db_default="")  # of the staff, for the staff
    tags = ArrayField(models.TextField(), default=list, db_default=[])

    class Meta:
        abstract = True

    @staticmethod
    def columns_of(said: "ParticularsInput") -> dict[str, Any]:
        """The columns of all that was said there; what was left out is empty."""
        customer = said.customer.model_dump() if said.customer else {}
        return {
            "email": said.email,
            "customer_name": customer.get("name") or "",
            "customer_phone": customer.get("phone") or "",
            "customer_external_id": customer.get("external_id") or "",
            "shipping_address": _said(said.shipping_address),
            "billing_address": _said(said.billing_address),
            "metadata": said.metadata,
            "note": said.note or "",
            "tags": said.tags,
        }

    def are_particulars(self, said: "ParticularsInput") -> bool:
        """Whether that says the same of the order."""
        columns = self.columns_of(said)
        return all(getattr(self, name) == value for name, value in columns.items())

    def particulars(self) -> snapshots.Particulars:
        customer: snapshots.Customer = {
            "name": self.customer_name or None,
            "phone": self.customer_phone or None,
            "external_id": self.customer_external_id or None,
        }
        return {
            "email": self.email,
            "customer": customer if any(customer.values()) else None,
            "shipping_address": _shown(self.shipping_address),
            "billing_address": _shown(self.billing_address),
            "metadata": self.metadata,
            "note": self.note or None,
            "tags": self.tags,
        }


def _said(address: "AddressInput | None") -> dict[str, str]:
    members = address.model_dump() if address else {}
    return {name: text for name, text in members.items() if text}


def _shown(address: dict[str, str]) -> snapshots.Address | None:
    if not address:
        return None
    return {
        "name": address.get("name"),
        "company": address.get("company"),
        "line1": address.get("line1"),
        "line2": address.get("line2"),
        "city": address.get("city"),
        "region": address.get("region"),
        "postal_code": address.get("postal_code"),
        "country": address.get("country"),
        "phone": address.get("phone"),
    }
