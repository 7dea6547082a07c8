"""Counts what goes over the wire, between a process and a server."""
