"""The opening handshake, frames and the machine of a connection: bytes in, events and bytes out."""
