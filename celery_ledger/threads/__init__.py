"""Calls to the outside world that take seconds and no process: jobs of `threaded` tasks run in
threads of one process, beside the pool.
"""
