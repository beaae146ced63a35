"""An order that was placed: its row and lines, whom it is for, how it is found and listed."""
