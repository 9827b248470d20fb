"""What suites cost, before any of it is spent."""
