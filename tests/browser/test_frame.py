"""A page inside a notebook's cell: it answers there as it does on its own."""

import pathlib

import numpy as np
import pytest

from dino_jax.viz.attend.picture import pictured
from dino_jax.viz.explorer.write import write_explorer
from dino_jax.viz.notebook import frame
from tests.evals.embed.networks import SHALLOW, encoder

pytestmark = pytest.mark.browser


def test_the_explorer_answers_inside_a_cell(page, tmp_path: pathlib.Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    network = encoder(SHALLOW)
    explorer = tmp_path / "explorer.html"
    write_explorer(explorer, [pictured(image, network, size=48, name="a")], [network])
    # A server's page, as a notebook is: there a page within may not change its address.
    notebook, errors = page.context.new_page(), []
    notebook.on("pageerror", lambda error: errors.append(str(error)))
    body = f"<!doctype html><meta charset=utf-8>{frame(explorer)}"
    notebook.route("**/*", lambda route: route.fulfill(body=body, content_type="text/html"))
    notebook.goto("http://notebook.invalid/")
    [inside] = notebook.frames[1:]
    inside.wait_for_function("window.explorer !== undefined")
    before = inside.evaluate("window.explorer.ready().then(() => window.explorer.state())")
    inside.locator("#head").select_option("1")
    after = inside.evaluate("window.explorer.ready().then(() => window.explorer.state())")
    assert before["head"] == "mean"
    assert after["head"] == 1
    notebook.wait_for_timeout(1000)  # the page writes its address a moment later
    assert not errors
