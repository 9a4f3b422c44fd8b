"""What people look at: pages of one file each, that open without a network."""
