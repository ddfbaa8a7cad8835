"""The same work in this package and in its peers, side by side: `make bench` measures, and writes report.md, report.json and the figures."""
