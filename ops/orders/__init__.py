"""Orders as staff see them: found, laid out on one line of time, explained, acted on."""
