"""Who is here: those who listen to a topic, by user, and what clients of feeds are told of it."""
