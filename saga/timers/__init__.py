"""Work that no message triggers: the relay and nudges."""
