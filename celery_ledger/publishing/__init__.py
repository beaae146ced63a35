"""Turns a call into a row, and rings a bell for it after the commit."""
