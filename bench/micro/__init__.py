"""Micro-benchmarks with pytest-benchmark: no sockets. ``python -m bench micro`` runs and compares them."""
