"""What holds jobs back in Postgres, for all workers together: rates, and how many run at once."""
