"""Payment providers: what the service asks of one, and those there are."""
