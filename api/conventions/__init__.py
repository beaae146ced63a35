"""What all endpoints have in common: how they answer, page, repeat, tag, wait and limit."""
