"""What the endpoints answer with. A shape is the one description of its answer: the API's OpenAPI
is made of it, and it is filled from what it shows, so that no key is named anywhere else. What the
shop itself is shown as stands in orders/snapshots.py.
"""
