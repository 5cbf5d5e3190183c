"""Weights of each family: written in our format, read from it and from what the authors published."""
