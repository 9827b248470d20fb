"""Speed and memory, as ratios within one process against what a user would pick instead."""
