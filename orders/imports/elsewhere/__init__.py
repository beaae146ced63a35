"""Orders that were placed elsewhere: what a file says of them, and how they come into the book."""
