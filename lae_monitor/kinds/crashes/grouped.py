"""Why crashes are one group, in words."""

from collections.abc import Mapping


def why(_group: str, attributes: Mapping[str, str]) -> str:
    signature = attributes.get("signature.why", "")
    if not signature:
        return "product"
    return f"product and signature are the same. The signature was made from: {signature}"
