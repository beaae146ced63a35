"""Jobs as staff see them: found by a filter, each with its story, acted on one or all."""
