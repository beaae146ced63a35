"""Django's SMTP, with the addresses of the envelope as `values.addresses` writes them."""

from typing import Any

from django.core.mail.backends import smtp

from values.addresses import mailable


class EmailBackend(smtp.EmailBackend):
    def prep_address(self, address: str, force_ascii: bool = True) -> Any:
        """Django's leaves out the quotes that `"da..me"@docomo.ne.jp` needs. Raises ValueError."""
        return mailable(super().prep_address(address, force_ascii))
