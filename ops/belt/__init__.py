"""The first page: what needs a person, and whether work moves."""
