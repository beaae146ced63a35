"""Mails as a developer reads them: printed, and not as they go over the wire."""

from django.core.mail import EmailMessage
from django.core.mail.backends import console

HEADERS = ("From", "To", "Reply-To", "Subject", "Message-ID")


class EmailBackend(console.EmailBackend):
    def write_message(self, message: EmailMessage) -> None:
        """Print its headers and its text as a reader sees them, and of other parts their names."""
        wire = message.message()
        heads = [f"{name}: {wire[name]}" for name in HEADERS if wire[name]]
        beside = [
            part.get_filename() or part.get_content_type()
            for part in wire.walk()
            if part.get_filename() or part.get_content_type() == "text/html"
        ]
        rest = [f"(and {', '.join(beside)})"] if beside else []
        self.stream.write("\n".join([*heads, "", str(message.body), *rest, "-" * 79, ""]))
