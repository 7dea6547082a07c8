"""What every service needs to run: settings, logs, its HTTP frame, its health, its process."""
