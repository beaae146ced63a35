"""What a call becomes: a row, written with those of its block, and the bell that rings for it."""
