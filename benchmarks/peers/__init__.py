"""What the saga is compared with: programs as their users would write them, each a process a service."""
