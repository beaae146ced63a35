"""What mail servers and providers say of mails that they do not take, or that nobody wants."""
