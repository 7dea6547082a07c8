"""The inventory service: keeps the stock of several warehouses, and holds, allocates and releases it."""
