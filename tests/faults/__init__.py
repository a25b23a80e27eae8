"""Faults and loads: what a server must bear beside its normal work, measured.

``python -m tests.faults`` runs them; each row states its bounds and checks every one of them.
"""
