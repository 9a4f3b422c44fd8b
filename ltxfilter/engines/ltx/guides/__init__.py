"""Small generated pictures that tell motion, and keyframes warped along them."""
