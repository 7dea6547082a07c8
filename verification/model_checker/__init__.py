"""Every state that one order can reach, by explicit-state search over the production reactions."""
