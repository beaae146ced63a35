"""The ledger in numbers and spans."""
