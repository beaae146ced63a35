"""Whether it all adds up: what everybody knows, and the audits of it."""
