"""What presses on a worker that works off a steady load: nine pressures, and where they are put on.

Everything here is a process: two servers that may be killed, the worker, who promises, who reads.
"""
