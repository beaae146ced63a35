"""What a verb asks of whoever does it: as few fields as it needs, the likeliest answer in each."""
