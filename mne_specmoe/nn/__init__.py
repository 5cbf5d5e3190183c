"""Bricks of networks, with no model family's name on them."""
