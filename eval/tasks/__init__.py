"""Tasks: what a system is measured on, defined by small files over a documented folder layout."""

from __future__ import annotations
