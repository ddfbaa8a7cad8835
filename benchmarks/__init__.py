"""The same work in this package and in its peers: `make bench` measures, and writes the report."""
