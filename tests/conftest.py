"""For all tests: how long hypothesis looks, and that nothing is left behind."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=200_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
