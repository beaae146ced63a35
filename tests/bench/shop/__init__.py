"""Figures of the shop."""
