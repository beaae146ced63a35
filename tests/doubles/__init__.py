"""Doubles of the outside world that speak its protocol over a real wire."""
