"""How what ltxfilter has learned was learned: the footage, and what trains on it."""
