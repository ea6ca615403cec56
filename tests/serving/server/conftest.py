"""`--hypothesis-profile=fuzz` asks the server 100,000 times; see docs/server.md."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz", max_examples=50_000, deadline=None, suppress_health_check=list(HealthCheck)
)
