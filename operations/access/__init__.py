"""Users, permissions and passwords of the broker and of the databases."""
