"""The audit: whether what the three services have stored keeps every promise, order by order."""
