"""NATS as the broker between nodes; it needs nats-py, which ``pip install 'fastws-server[nats]'`` brings."""

from fastws.pubsub.brokers.nats.broker import NatsBroker

__all__ = ["NatsBroker"]
