"""What a process reads and checks before it does anything."""
