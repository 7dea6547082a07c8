"""The HTTP frame of every service: tokens, limits, exact JSON, problem details, health."""
