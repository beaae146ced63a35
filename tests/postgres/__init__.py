"""Sessions of Postgres side by side, and the plans that it makes."""
