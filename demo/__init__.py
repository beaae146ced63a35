"""A sushi counter to try the shop with: its menu, its order form, and the pages on which a customer
watches an order.
"""
