"""A file as it arrives: its encoding, its lines, and what stands in its cells."""
