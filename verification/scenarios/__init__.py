"""The ways one order can go: one table for the demo, the end-to-end tests and the documentation."""
