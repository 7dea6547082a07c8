"""What must hold for an order, for stock and for money. Pure functions of what was recorded."""
