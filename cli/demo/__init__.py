"""`saga demo`: the command, what it has found out, and its printing."""
