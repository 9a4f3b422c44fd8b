"""Addresses of the network as input and output: what is let in, how waiting ends, what is said."""
