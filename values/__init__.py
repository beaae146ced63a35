"""Values that know neither a request nor a row: money, ids, cells, shares and what is read from
text.
"""
