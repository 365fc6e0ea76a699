"""Groups of crashes: why one is, and how long the reports of a product are kept."""

from collections.abc import Mapping

from lae_monitor.core.kind import Classes
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.program import clean
from lae_monitor.kinds.crashes.read import group_of


def why(_group: str, attributes: Mapping[str, str]) -> str:
    """Why crashes are one group."""
    signature = attributes.get("signature.why", "")
    if not signature:
        return "product"
    return f"product and signature are the same. The signature was made from: {signature}"


def classes(settings: Settings) -> Classes:
    """By the names that reports have them under; of two ways to write one product, the longer time counts."""
    keep: dict[str, float] = {}
    for product, kept in settings.product_retention.items():
        keep[clean(product)] = max(float(kept), keep.get(clean(product), 0.0))
    return Classes(keep, int(settings.max_kept), "product_retention")


def group_of_product(product: str) -> str:
    """What the groups of a product begin with."""
    return group_of(clean(product), "")
