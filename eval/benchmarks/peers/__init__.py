"""Adaptors to the libraries that the benchmarks compare with: one module for each, all with the same few methods."""

from __future__ import annotations
