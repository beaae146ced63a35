"""Values that know neither a request nor a row: money, ids, names, addresses, cells, shares, and
what is read from text.
"""
