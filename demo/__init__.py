"""A sushi counter to try the shop with: its menu, its order form, and the page on which a customer
looks on.
"""
