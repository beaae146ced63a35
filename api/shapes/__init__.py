"""What goes in and what comes out, as the description tells it."""
