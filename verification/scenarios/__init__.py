"""What can happen to one order, as the demo, the end-to-end tests and the docs show it."""
