"""Files of orders: read, staged, and worked off chunk by chunk."""
