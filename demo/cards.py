"""The cards that a visitor of the demo shop may try: those of the sandbox, or Stripe's own test
cards.
"""

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

Card = tuple[str, Promise]
LOST_ANSWER = "tok_timeout"

SANDBOX: tuple[Card, ...] = (
    ("tok_ok", gettext_lazy("The card works")),
    ("tok_declined", gettext_lazy("The bank declines the card")),
    ("tok_slow", gettext_lazy("The bank takes five seconds")),
    ("tok_flaky", gettext_lazy("The bank fails twice, then works")),
    (LOST_ANSWER, gettext_lazy("The bank takes the money and never answers")),
    ("tok_webhook_first", gettext_lazy("The bank sends its notice before its answer")),
    ("tok_webhook_twice", gettext_lazy("The bank sends the same notice twice")),
    ("tok_webhook_never", gettext_lazy("The bank promises a notice and never sends it")),
    ("tok_confirm", gettext_lazy("The bank asks you to confirm")),
)
STRIPE: tuple[Card, ...] = (  # https://docs.stripe.com/testing
    ("pm_card_visa", gettext_lazy("The card works")),
    ("pm_card_chargeDeclined", gettext_lazy("The bank declines the card")),
    (
        "pm_card_chargeDeclinedInsufficientFunds",
        gettext_lazy("There is not enough money on the card"),
    ),
    (
        "pm_card_authenticationRequired",
        gettext_lazy("The bank waits for a confirmation that never comes"),
    ),
)
STRIPE_TEST_KEYS = ("sk_test_", "rk_test_")


def cards() -> tuple[Card, ...]:
    """The first one works. None where the demo shop is closed, or real money would move."""
    if not settings.DEMO_SHOP:
        return ()
    if settings.PAYMENT_PROVIDER == "sandbox":
        return SANDBOX
    is_test = settings.PAYMENT_PROVIDER == "stripe" and settings.STRIPE_SECRET_KEY.startswith(
        STRIPE_TEST_KEYS
    )
    return STRIPE if is_test else ()
