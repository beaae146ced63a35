"""Limits on jobs, kept in Postgres for all workers together: how often jobs begin, and how many run
at once.
"""
