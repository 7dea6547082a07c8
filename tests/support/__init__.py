"""What several tests need: brokers, neighbours, messages."""
