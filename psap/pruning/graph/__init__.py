"""Which channels must go together, and how they are taken out."""
