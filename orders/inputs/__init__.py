"""What the shop takes from outside, in strict shapes, and what is wrong with an input, in words."""
