"""Ready-made ``authenticate=`` of feeds, and ``authorize=`` of routes: who a client is."""
