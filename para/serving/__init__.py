"""A policy as a server: what a robot asks for over a websocket."""
