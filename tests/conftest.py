"""What every test runs under: eight virtual CPU devices, checked shapes, no silent broadcasting.

It has to act before jax makes its devices and before anything of dino_jax is imported.
"""

import os

# Set in the environment too, so that a command started by a test stays on the CPU.
os.environ["JAX_PLATFORMS"] = os.environ.get("DINO_JAX_TEST_PLATFORM", "cpu")

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


@pytest.fixture(autouse=True, scope="module")
def compilation(request: pytest.FixtureRequest) -> None:
    """Compile with little optimisation, in half the time, except what is held to the original.

    Nothing compiled is carried from one file to the next: it would be of the other kind, and
    thousands of programs fill the memory.
    """
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", "parity" not in request.path.parts)
