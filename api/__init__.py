"""All of HTTP and JSON under /v1, and public keys under /.well-known: who asks, what is taken, what
is answered, what is refused, and its description.
"""
