"""Messaging without a particular broker: topology, batches, retries, quarantine, dead letters."""
