"""The shop: orders and their steps, stock, money, imports and reports."""
