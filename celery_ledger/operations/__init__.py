"""What a person asks of jobs and does to them."""
