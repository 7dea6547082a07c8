"""What authors of reactions write, and the batch logic that makes it durable."""
