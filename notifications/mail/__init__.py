"""Mails: whom an event is told to and in which words, and the edge to the mail server."""
