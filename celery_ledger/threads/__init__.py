"""Runs jobs of `threaded` tasks, which wait for other servers, in threads of one process beside the
pool.
"""
