"""The verbs of the `psap` command by topic. Importing them imports nothing heavy: each does when it runs."""
