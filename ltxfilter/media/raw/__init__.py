"""Video without a container: y4m and rawvideo, and what feeds our pipe."""
