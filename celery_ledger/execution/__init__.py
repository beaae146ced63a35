"""One attempt at one job: claim, run, settle it or give a verdict, and one line of the log."""
