"""Files of orders that are handed out: what an import reads back, written part by part."""
