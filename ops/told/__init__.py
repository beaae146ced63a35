"""Who was told: how endpoints are, each delivery with each try, and mails as they were read."""
