"""JSON lines: one object a line, plain or compressed; also the corpus of a BEIR folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from retrieval.documents.columns import Columns
from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item, documents_from_rows
from retrieval.documents.streams import read_lines


def read_jsonl(path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read documents from a file of JSON lines (.jsonl, .ndjson; also .gz and .zst)."""
    return documents_from_rows(_objects(path, report), str(path), columns, report)


def _objects(path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, Any]]]:
    decode = msgspec.json.Decoder().decode
    for number, line in read_lines(path, report):
        if line.isspace():
            continue
        try:
            values = decode(line)
        except UnicodeDecodeError as error:
            report.skip(f"{path}:{number}", "invalid UTF-8", str(error))
        except (msgspec.DecodeError, RecursionError) as error:
            report.skip(f"{path}:{number}", "invalid JSON", str(error))
        else:
            if type(values) is dict:
                yield number, values
            else:
                report.skip(f"{path}:{number}", "not an object", f"the line is a JSON {type(values).__name__}")
