"""Payment providers: what the service needs of one, and the adapters."""
