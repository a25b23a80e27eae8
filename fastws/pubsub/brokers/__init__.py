"""Brokers: what joins the nodes of several machines. Each is one module, imported when a URL names it."""
