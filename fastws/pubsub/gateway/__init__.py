"""The gateway: what one node has of the broker that joins it with other nodes."""
