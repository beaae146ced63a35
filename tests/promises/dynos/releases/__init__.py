"""Two releases of one small app, to run side by side: the new one has a column and a task more, and
a task less.
"""
