"""docs/metrics.md has every figure for Prometheus with its kind, labels and meaning, and none that does not exist."""

import ast
from importlib import import_module
from pathlib import Path

from prometheus_client import REGISTRY

import lae_monitor

FOLDER = Path(lae_monitor.__file__).parent


def modules_with_metrics():
    for path in sorted(FOLDER.rglob("*.py")):
        imported = [node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        if "prometheus_client" in imported:
            yield ".".join(["lae_monitor", *path.relative_to(FOLDER).with_suffix("").parts])


def metrics():
    """Name as Prometheus shows it -> kind, labels, help."""
    for module in modules_with_metrics():
        import_module(module)
    found = {}
    for metric in list(REGISTRY._collector_to_names):
        name = getattr(metric, "_name", "")
        if name.startswith(("lae_", "socorro_")):
            shown = f"{name}_total" if metric._type == "counter" else name
            found[shown] = (metric._type, ", ".join(metric._labelnames), metric._documentation)
    return found


def test_every_figure_is_there_and_no_other(page, markdown):
    documented = {
        markdown.code(row[0]): tuple(row[1:4]) for table in markdown.tables(page("metrics.md")) for row in table
    }
    should = {
        name: (kind, ", ".join(f"`{label}`" for label in labels.split(", ") if label) or "-", meaning)
        for name, (kind, labels, meaning) in metrics().items()
    }
    lines = "\n".join(f"| `{name}` | {' | '.join(rest)} |" for name, rest in sorted(should.items()))
    assert documented == should, f"the tables of docs/metrics.md together should be:\n{lines}"


def test_there_are_figures_of_mover_http_and_gatherers():
    assert len(metrics()) > 10
