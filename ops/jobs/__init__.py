"""Jobs as staff see them: found by a filter, told one by one, acted on one or all."""
