"""The tutorial notebook: it runs from a clean copy, and shows what is committed."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from conftest import REPOSITORY, Project, clean_environment
from nbclient import NotebookClient

NOTEBOOK = Path("examples", "flights", "delay_model.ipynb")


def test_notebook(project: Project) -> None:
    """Runs it. PROVENDER_TEST_UPDATE=1 writes what it shows into the repository."""
    notebook = nbformat.read(REPOSITORY / NOTEBOOK, as_version=4)
    committed = nbformat.read(REPOSITORY / NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(project.folder)}}
    )
    client.execute(
        env=clean_environment()
        | {
            "PATH": f"{project.binary.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY / "sdk" / "python" / "src"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Where others use the cores too, threads of a small fit wait for each other for longer than they work.
            "OMP_NUM_THREADS": "1",
        }
    )
    clean(notebook)
    if os.environ.get("PROVENDER_TEST_UPDATE"):
        (REPOSITORY / NOTEBOOK).write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        return
    for was, cell in zip(committed.cells, notebook.cells, strict=True):
        assert cell == was, f"{cell.source}\nshows something else: is it right? Then PROVENDER_TEST_UPDATE=1"


def clean(notebook: nbformat.NotebookNode) -> None:
    """Takes out what differs from run to run, counts, progress and logs, and HTML, which is long and says the same."""
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
            output.get("data", {}).pop("text/html", None)
