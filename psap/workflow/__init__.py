"""What the Snakefile asks, and the command that runs it."""
