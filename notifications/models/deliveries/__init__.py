"""One event on its way to one target: its row, each try of it, and how many are told at once."""
