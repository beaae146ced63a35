"""Goods as staff see them: found, with what moved them, counted and described."""
