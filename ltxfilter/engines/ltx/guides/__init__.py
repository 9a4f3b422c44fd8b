"""Guides, small generated pictures that show the motion, and keyframes warped along them."""
