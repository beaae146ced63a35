"""The tables of the shop, one noun a file; those of payments, imports and reports live in their own
rooms.
"""

from orders.exports.models import Export, ExportPart
from orders.imports.became import ImportOrder
from orders.imports.models import Import, ImportFault
from orders.imports.rows import ImportRow
from orders.models.client import ApiKey, Client
from orders.models.erasure import Erasure
from orders.models.fulfilment import Fulfilment
from orders.models.idempotency_key import IdempotencyKey
from orders.models.order_return import Came, Return
from orders.models.placed.line import OrderLine, named
from orders.models.placed.order import Order
from orders.models.refund import Asked, Refund
from orders.models.remark import Remark
from orders.models.stocked.movement import StockMovement
from orders.models.stocked.stock import Stock
from orders.models.withdrawal import (
    is_withdrawn,
    may_be_withdrawn,
    may_be_withdrawn_in_part,
    withdraw,
    withdrawable,
)
from orders.payments.models import PaymentOperation
from orders.payments.provider_event import ProviderEvent
from orders.payments.sandbox_book import SandboxCharge, SandboxFailure, SandboxRefund
from orders.reports.models import Computation, DailyReport, HourFigure, SkuFigure
from orders.states import TRANSITIONS, State

__all__ = [
    "TRANSITIONS",
    "ApiKey",
    "Asked",
    "Came",
    "Client",
    "Computation",
    "DailyReport",
    "Erasure",
    "Export",
    "ExportPart",
    "Fulfilment",
    "HourFigure",
    "IdempotencyKey",
    "Import",
    "ImportFault",
    "ImportOrder",
    "ImportRow",
    "Order",
    "OrderLine",
    "PaymentOperation",
    "ProviderEvent",
    "Refund",
    "Remark",
    "Return",
    "SandboxCharge",
    "SandboxFailure",
    "SandboxRefund",
    "SkuFigure",
    "State",
    "Stock",
    "StockMovement",
    "is_withdrawn",
    "may_be_withdrawn",
    "may_be_withdrawn_in_part",
    "named",
    "withdraw",
    "withdrawable",
]
