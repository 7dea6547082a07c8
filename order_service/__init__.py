"""The order service: places orders, asks the others for stock and payment, and decides how an order ends."""
