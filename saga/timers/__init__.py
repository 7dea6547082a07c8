"""What is done when no message comes: publishing of what is left over, and nudges."""
