"""What the shop has of each sku, and how that changed."""
