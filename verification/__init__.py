"""Does the system keep its promises? One list of invariants, asked of databases, schedules and states."""
