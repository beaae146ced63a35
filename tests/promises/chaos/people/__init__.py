"""Customers, what they wish for, and what they were answered."""
