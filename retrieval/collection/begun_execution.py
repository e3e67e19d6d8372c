"""How a collection's vectors were begun to be computed, and how its encoder goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.collection.manifest import Manifest

COSINE_FLOOR = 0.999
"""Least cosine between a stored vector and the same text encoded here (another device, precision or version)."""

EIGHT_BITS_FLOOR = 0.9
"""The same where both are of the same eight bits: ONNX Runtime's hang on the texts that stand in the same batch."""


def execution_begun_with(manifest: Manifest) -> dict[str, Any]:
    """Return the settings that a collection's encoder is loaded with when nobody says how it is to compute.

    What was begun in fp32 goes on in it, also where the device has a faster precision. Vectors in eight bits are too
    far from others to be compared with them, and go on in the runtime that made them, calibrated as it was. Anything
    else goes on in what the device has: also eight bits of several runtimes or calibrations that were merged, whose
    vectors are then found to differ.
    """
    vectors = (segment.dense.execution for segment in manifest.segments if segment.dense is not None)
    begun = next((facts for facts in vectors if facts.get("precision")), {})
    precision, runtime, digest = (begun.get(name) for name in ("precision", "runtime", "calibration"))
    if precision == "fp32":
        return {"precision": "fp32"}
    if precision == "int8" and runtime == "onnx":
        return {"precision": "int8", "runtime": "onnx"}
    if precision == "int8" and runtime == "openvino" and isinstance(digest, str):
        from retrieval.runtimes.calibration import Calibration

        return {"precision": "int8", "runtime": "openvino", "calibration": Calibration.made_before(digest)}
    return {"precision": "auto"}


def are_eight_bits(settings: Mapping[str, Any]) -> bool:
    """Tell whether settings of `execution_begun_with` start a runtime that computes in eight bits."""
    return settings.get("precision") == "int8"


def cosine_floor(stored: Mapping[str, Any], here: Mapping[str, Any]) -> float:
    """Return how near vectors must be that were computed in two ways, by their `execution()`."""
    from retrieval.staging import precision_key

    same = stored.get("precision") == "int8" and precision_key(stored) == precision_key(here)
    return EIGHT_BITS_FLOOR if same else COSINE_FLOOR
