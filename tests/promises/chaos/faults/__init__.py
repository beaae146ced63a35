"""What may happen to processes, servers, lines and bells."""
