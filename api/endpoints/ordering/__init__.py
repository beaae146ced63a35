"""What is done with an order: it is placed, paid, sent, paid back, returned, held."""
