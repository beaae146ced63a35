"""What a worker's main process does beside the pool: the clock, and how it stops."""
