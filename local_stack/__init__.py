"""Broker, database and services as private processes on one machine."""
