"""An order: what was bought, where it is on the belt, and the verbs that move it.

::

    received ──► reserved ──► confirmed ◄─► completed
        │            │             │
        └────────────┴─────────────┴──────► cancelled

Its columns stand in `columns` and `particulars`, its queries in `queryset`, its lines in `line`.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.functional import cached_property

from notifications import events
from notifications.models.changes import Written
from orders import snapshots
from orders.models import withdrawal
from orders.models.client import Client
from orders.models.goods import take_back
from orders.models.placed import finding
from orders.models.placed.columns import Columns
from orders.models.placed.constraints import CONSTRAINTS
from orders.models.placed.line import OrderLine, Units
from orders.models.placed.queryset import OrderQuerySet
from orders.models.refund import Asked, Refund
from orders.models.stocked.stock import Stock
from orders.payments.models import PaymentOperation
from orders.states import PASSING, TRANSITIONS, FulfilmentState, PaymentMethod, PaymentState, State
from values.refused import Refused, Sentence

if TYPE_CHECKING:
    from orders.inputs.order import OrderInput
    from orders.inputs.particulars import ParticularsInput
    from orders.models.fulfilment import Fulfilment


class Order(Columns):
    objects = OrderQuerySet.as_manager()

    class Meta:
        constraints = CONSTRAINTS
        indexes = finding.INDEXES

    def __str__(self) -> str:
        return self.number

    @classmethod
    def from_input(cls, client: Client, order_input: "OrderInput") -> "Order":
        """An order as this input has it, not saved yet, at its first event."""
        return cls(
            client=client,
            version=1,
            public_token=secrets.token_urlsafe(18),
            external_id=order_input.external_id,
            currency=order_input.currency,
            total=order_input.total,
            locale=order_input.preferred_locale,
            shipping_amount=order_input.shipping.amount,
            shipping_tax=order_input.shipping.tax,
            payment_method=order_input.payment.method,
            payment_token=order_input.payment.token or "",
            payment_attempts=order_input.payment.attempts,
            **cls.columns_of(order_input),
            **order_input.so_far(),
        )

    def refresh_from_db(self, *args: Any, **options: Any) -> None:
        for name in ("own_lines", "_assigned"):
            self.__dict__.pop(name, None)
        super().refresh_from_db(*args, **options)

    @cached_property
    def own_lines(self) -> list[OrderLine]:
        """Its lines in order, read once: whoever changes a line changes it here, and a snapshot
        shows it.
        """
        return list(self.lines.all())

    @property
    def open_units(self) -> Units:
        """The units that are still to be sent."""
        return [(line, line.open) for line in self.own_lines if line.open]

    def units_at(self, parts: Iterable[Mapping[str, Any]]) -> Units:
        """Units of its lines, of parts that name each line by its `position`, with a `quantity`."""
        line_of = {line.position: line for line in self.own_lines}
        return [(line_of[part["position"]], part["quantity"]) for part in parts]

    # --- verbs; the caller holds the order's lock -------------------------------------------------

    def reserve(self) -> bool:
        """Promise the goods for as long as it may take to pay. False, and cancelled, when something
        is short.
        """
        if not Stock.objects.reserve(self):
            self.move(State.CANCELLED, reason="out_of_stock")
            return False
        self.move(
            State.RESERVED,
            charge_state="pending" if self.total else "none",
            expires_at=timezone.now() + self.keep,
        )
        return True

    def intend_charge(self) -> PaymentOperation:
        return PaymentOperation.objects.intend_charge(self)

    def confirm(self, *, captured: int | None = None) -> None:
        """It is paid for: with this amount, or with what was captured before."""
        paid = self.captured if captured is None else captured
        self.move(State.CONFIRMED, captured=paid, expires_at=None)

    def cancel(self, reason: str) -> Refund | None:
        """Give back what is not sent, goods and money. The order is cancelled then, or completed
        with what was sent. Refuses with `not-cancellable` once it has ended.

        A charge that is under way goes on; if it succeeds, it is refunded. The caller promises the
        refund's job.
        """
        if self.has_ended:
            raise Refused(
                "not-cancellable",
                Sentence(
                    "Order %(number)s is %(state)s; refund what should come back.",
                    number=self.number,
                    state=Sentence(self.state),
                ),
            )
        refund = self._withdraw(reason)
        to = State.COMPLETED if self.units_fulfilled else State.CANCELLED
        self.move(to, reason=reason, expires_at=None, held=False, hold_reason="")
        return refund

    def _withdraw(self, reason: str) -> Refund | None:
        """Nothing more of it is sent or charged. Returns the refund of what was paid for that, if
        anything was.
        """
        if self.units_fulfilled:
            rest = Asked(units=self.open_units, restock=True)
            return Refund.objects.write_down(self, rest, reason=reason)
        elsewhere = self.payment_method != PaymentMethod.CARD
        if PaymentOperation.objects.void(self) or elsewhere:
            self.assign(charge_state="none")
        if self.state != State.RECEIVED:
            take_back(self, self.open_units)
        return Refund.objects.write_down(self, Asked(), reason=reason) if self.refundable else None

    def note_refund(self, refund: Refund, *, reason: str = "refunded") -> None:
        """Record a refund that was written down. With nothing left to send, the order ends, for
        that reason.
        """
        event = "order.refund_pending" if refund.amount else "order.restocked"
        self.record(event, {"refund": refund.snapshot()})
        self._end_when_nothing_is_open(reason)

    def hold(self, reason: str, *, anew: bool = False) -> None:
        """Put it on hold, with the reason: it is neither charged, sent nor expired meanwhile.

        The last reason stands, but one that passes by itself takes no other's place. The reason
        that stands already makes an event only `anew`: there is another trouble of its kind.
        """
        is_news = reason != self.hold_reason or anew
        if not self.held or (is_news and reason not in PASSING):
            self.record("order.held", held=True, hold_reason=reason)

    def release(self) -> None:
        """Release it. Its goods are set aside for as long again: nobody could pay meanwhile."""
        if self.held:
            if self.state == State.RESERVED:
                self.assign(expires_at=timezone.now() + self.keep)
            over: snapshots.About = {"hold": {"reason": self.hold_reason}}
            self.record("order.released", over, held=False, hold_reason="")

    def change(self, particulars: "ParticularsInput") -> None:
        """Change whom it is for, where it goes and what is noted of it; without any news there is
        no event. Refuses with `already-sent` another shipping address once something is sent, and
        with `order-erased`.
        """
        news = self.news_in(particulars)
        if news:
            self.refuse_erased()
        if "shipping_address" in news and self.units_fulfilled:
            detail = Sentence("Of order %(number)s something is sent already.", number=self.number)
            raise Refused("already-sent", detail)
        if news:
            self.record("order.updated", **news)

    def refuse_erased(self) -> None:
        """Refuses with `order-erased` when nobody knows any more for whom it was."""
        if self.was_erased:
            detail = Sentence(
                "The customer of order %(number)s was erased from it.", number=self.number
            )
            raise Refused("order-erased", detail)

    def make_way(self) -> None:
        """Leave its external_id to the order that takes the place of this unmet one."""
        self.record("order.replaced", external_id=None)

    def note_shipped(self, parcel: "Fulfilment", units: int) -> None:
        about: snapshots.About = {"fulfilment": parcel.snapshot()}
        self.record("order.fulfilled", about, units_fulfilled=self.units_fulfilled + units)
        self._end_when_nothing_is_open(self.reason)

    def note_unshipped(self, parcel: "Fulfilment", units: int) -> None:
        """So many units are to be sent again: an order that had ended with them goes on."""
        event, sent = "order.fulfilment_cancelled", self.units_fulfilled - units
        about: snapshots.About = {"fulfilment": parcel.snapshot()}
        if self.has_ended:
            self.move(State.CONFIRMED, event, about, reason=self.reason, units_fulfilled=sent)
        else:
            self.record(event, about, units_fulfilled=sent)

    def _end_when_nothing_is_open(self, reason: str) -> None:
        if self.state == State.CONFIRMED and self.units_fulfilled == self.units:
            if not self.units:
                self.assign(charge_state="none")
            to = State.COMPLETED if self.units else State.CANCELLED
            self.move(to, reason=reason, held=False, hold_reason="")

    def move(
        self,
        to: State,
        event: str = "",
        about: snapshots.About | None = None,
        *,
        reason: str = "",
        **changes: Any,
    ) -> None:
        """Change the state, and what changes with it, and record the event, which is named after
        the state unless `event` names it: the only way to do either.

        Raises ValueError for a step that TRANSITIONS does not have.
        """
        if to not in TRANSITIONS[State(self.state)]:
            raise ValueError(f"order {self.number} cannot go from {self.state} to {to}")
        self.record(event or f"order.{to}", about, state=to, reason=reason, **changes)

    def record(self, kind: str, about: snapshots.About | None = None, **changes: Any) -> None:
        """Set columns, count the version up, save, and write the event with a snapshot of the order
        as it is then, and of what the event is about. Nothing else saves an order, so nothing of it
        changes without an event.
        """
        self.assign(version=self.version + 1, updated_at=Written(), **changes)
        self.save(update_fields=self._assigned)
        self._assigned.clear()
        self.tell(kind, about)

    def tell(self, kind: str, about: snapshots.About | None = None) -> None:
        """Write the event of this version."""
        events.record(
            kind,
            subject=self.pk,
            seq=self.version,
            owner=self.client_id,
            data={"order": self.snapshot(), **(about or {})},
        )

    def assign(self, **changes: Any) -> None:
        """Set columns, which the next event saves. The caller holds the lock; a state is set by
        `move` only.
        """
        for name, value in changes.items():
            setattr(self, name, value)
        self._assigned.update(changes)

    @cached_property
    def _assigned(self) -> set[str]:
        """Columns that were set and not saved yet."""
        return set()

    def snapshot(self) -> snapshots.Order:
        """The order as the API and the webhooks show it: JSON, money in integer minor units."""
        return {
            "id": str(self.pk),
            "number": self.number,
            "external_id": self.external_id,
            "state": State(self.state),
            "payment_state": PaymentState(self.payment_state),
            "fulfilment_state": FulfilmentState(self.fulfilment_state),
            "held": self.held,
            "hold_reason": self.hold_reason or None,
            "reason": self.reason or None,
            "version": self.version,
            "payment_method": PaymentMethod(self.payment_method),
            "currency": self.currency,
            "total": self.total,
            "captured": self.captured,
            "refunded": self.refunded,
            "refund_pending": self.refund_pending,
            **self.particulars(),
            "locale": self.locale or None,
            "withdrawal": withdrawal.snapshot(self),
            "lines": [line.snapshot() for line in self.own_lines],
            "shipping": {"amount": self.shipping_amount, "tax": self.shipping_tax},
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "links": {
                "self": f"/v1/orders/{self.pk}",
                "events": f"/v1/orders/{self.pk}/events",
                "status_page": f"/o/{self.public_token}/",
            },
        }
