"""Publish from elsewhere: a page that takes messages for a hub, and clients of it for plain programs."""
