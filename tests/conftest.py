"""What every test runs under: eight virtual CPU devices, checked shapes, no silent broadcasting.

It has to act before jax makes its devices and before anything of dino_jax is imported.
"""

import logging
import os
from collections.abc import Iterator

# Set in the environment, so that it also holds for a command started by a test.
os.environ["JAX_PLATFORMS"] = os.environ.get("DINO_JAX_TEST_PLATFORM", "cpu")
os.environ["DINO_JAX_COMPILE_CACHE"] = "off"  # nothing of a test lies in the user's cache

import jax
import pytest
from absl import flags
from jaxtyping import install_import_hook

import tests.checked  # noqa: F401  (the hook below finds it by name)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# grain refuses to start workers while absl's flags are unparsed; under pytest nobody parses them.
flags.FLAGS.mark_as_parsed()

# Array shapes in signatures are checked at every call, under pytest only.
install_import_hook("dino_jax", "tests.checked.check")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compile with little optimisation, in half the time, here and in commands that are started.

    Not so what is held to the original, and what is slow and leaves its time in a result.
    """
    fully = "parity" in item.path.parts or item.get_closest_marker("slow") is not None
    jax.config.update("jax_disable_most_optimizations", not fully)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(not fully))


@pytest.fixture(autouse=True, scope="module")
def nothing_compiled_before() -> None:
    """Carry nothing compiled from one file to the next: thousands of programs fill the memory."""
    jax.clear_caches()


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """What a command sets is set back, so that no later test sees more of the log."""
    log = logging.getLogger("dino_jax")
    before = log.level
    yield
    log.setLevel(before)
