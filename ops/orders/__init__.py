"""Orders as staff see them: found, told on one line of time, explained, acted on."""
