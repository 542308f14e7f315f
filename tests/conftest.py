"""What every test runs under: eight virtual CPU devices, checked shapes, no silent broadcasting.

It has to act before jax makes its devices and before anything of dino_jax is imported.
"""

import os

# Set in the environment too, so that a command started by a test stays on the CPU.
os.environ["JAX_PLATFORMS"] = os.environ.get("DINO_JAX_TEST_PLATFORM", "cpu")

import jax
from absl import flags
from jaxtyping import install_import_hook

import tests.checked  # noqa: F401  (the hook below finds it by name)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# grain refuses to start workers while absl's flags are unparsed; under pytest nobody parses them.
flags.FLAGS.mark_as_parsed()

# Array shapes in signatures are checked at every call, under pytest only.
install_import_hook("dino_jax", "tests.checked.check")
