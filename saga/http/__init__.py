"""The HTTP frame of every service: problem details, tokens, limits, health."""
