"""The panel that breaks things on purpose, and the counter of orders lost and doubled."""
