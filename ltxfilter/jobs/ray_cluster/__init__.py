"""Workers on a Ray cluster: `ray_pool.py` is the pool, `actor.py` is what runs on the nodes."""
