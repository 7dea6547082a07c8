"""The order service: places orders, requests stock and payment, and decides how an order ends."""
