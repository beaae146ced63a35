"""The staff pages, /ops/: what needs a person, an order on one line of time, and what to do about
it.
"""
