"""What comes of a comparison: its table, its page, its pictures, its files."""
