"""What is said to the shop from outside, in strict shapes, and what is wrong with it in words."""
