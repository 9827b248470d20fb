"""`psap prune`: one network of one's own, outside any suite, from a request to a folder with a report."""
