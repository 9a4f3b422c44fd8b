"""A pytest plugin for slow machines, such as valgrind's: property tests may take their time."""

from hypothesis import HealthCheck, settings

settings.register_profile("no deadline", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("no deadline")
