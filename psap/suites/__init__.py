"""A suite is a grid of runs; a run is one cell; a cell's path is its identity."""
