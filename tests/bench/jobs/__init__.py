"""Figures of the ledger."""
