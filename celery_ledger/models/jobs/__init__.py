"""A job's row: promised, claimed, settled, rescued, rung, and what a person does to it."""
