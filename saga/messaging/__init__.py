"""What happens to a message, whatever broker carries it: topology, batches, retries, dead letters."""
