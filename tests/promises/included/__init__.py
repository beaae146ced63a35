"""Modules that a test includes into a worker with `--include`."""
