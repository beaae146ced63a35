"""The parts of a worker's main process beside its pool: the clock, and the way it stops."""
