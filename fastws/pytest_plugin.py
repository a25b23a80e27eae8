"""One-line door for configurations that name ``fastws.pytest_plugin``."""

pytest_plugins = ["fastws.testing.plugin"]
