"""The keeper: one process that numbers the messages of topics with a history for all workers.

It runs no user code. Each worker has a stream socket to it (:mod:`fastws.pubsub.keeper.client`), and keeps a
copy of what the topics that somebody uses there have kept (:mod:`fastws.pubsub.keeper.shared_topic`).
"""
