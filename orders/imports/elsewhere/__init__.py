"""Orders that were placed elsewhere: what a file holds of them, and how they come into the book."""
