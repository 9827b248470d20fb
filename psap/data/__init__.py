"""Data sets: prepared once into one verified file, then served as fast in-memory batches."""
