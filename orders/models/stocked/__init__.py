"""Stock: what is on hand, what of it is promised, and every movement that made it so."""
