"""The payment service: charges customers and pays them back, once each, whatever happens in between."""
