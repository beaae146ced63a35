"""Payments: what we intend to charge (`models`), and the providers that do so (`sandbox`, …)."""
