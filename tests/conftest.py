"""Hypothesis profiles: the same examples on every run, and 20 times as many of them under `-m soak`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, Phase, settings

EXAMPLES = 100

_common = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "print_blob": False,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
settings.register_profile("test", max_examples=EXAMPLES, **_common)
settings.register_profile("soak", max_examples=20 * EXAMPLES, **_common)
settings.register_profile("mutate", max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate], **_common)


def pytest_configure(config):
    if "TWOFOLD_CACHE" not in os.environ:  # the workers of xdist find it set, and share what one of them compiled
        folder = os.environ["TWOFOLD_CACHE"] = tempfile.mkdtemp(prefix="twofold-test-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    is_mutant = os.environ.get("TWOFOLD_MUTATE") == "1"  # that it fails is enough: a smallest example takes long
    settings.load_profile("soak" if _soaks(config) else "mutate" if is_mutant else "test")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(config, items):
    if _soaks(config):
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker("soak")


def _soaks(config) -> bool:
    return os.environ.get("TWOFOLD_SOAK") == "1" or config.option.markexpr.strip() == "soak"
