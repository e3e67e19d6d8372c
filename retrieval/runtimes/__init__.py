"""Runtimes beside PyTorch: NumPy for a few texts at once, ONNX Runtime and OpenVINO for exported networks.

Each implements `retrieval.execution.runtime.Runtime`. NumPy needs nothing and starts at once; the others are extras
(`onnx`, `openvino`), and what they run is exported on this machine.
"""
