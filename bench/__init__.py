"""The benchmark suite: ``python -m bench`` measures fastws beside its rivals. See docs/benchmarks.md."""
