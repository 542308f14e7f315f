"""Notebooks, read and run in a kernel of this interpreter, their parameters replaced."""

import ast
import pathlib
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets import default

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NAMES = ("attention", "train_on_your_images", "features")
SECONDS = 240
"""Of a cell, at most."""


class Kernel(AsyncKernelManager):
    """This interpreter's: none need be installed for the user, and one that is is not looked at."""

    @default("kernel_spec_manager")
    def _only_this_one(self) -> KernelSpecManager:
        return KernelSpecManager(parent=self, kernel_dirs=[])


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def parameters(notebook: nbformat.NotebookNode) -> tuple[int, set[str]]:
    """Where the cell is that says what to change, and the names in it."""
    [place] = [
        place
        for place, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    ]
    nodes = ast.parse(notebook.cells[place].source).body
    return place, {node.targets[0].id for node in nodes if isinstance(node, ast.Assign)}


def run(name: str, folder: pathlib.Path, **values: Any) -> nbformat.NotebookNode:
    """Run all cells in a folder; `values` stand for those of the cell of parameters."""
    notebook = read(name)
    place, names = parameters(notebook)
    assert values.keys() <= names, f"{name} has no parameters {values.keys() - names}"
    assigned = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(assigned))
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, kernel_manager_class=Kernel, kernel_name="python3", timeout=SECONDS,
        resources=where,
    ).execute()  # fmt: skip
    return notebook
