"""The printable page of a calibration board: a PDF in true size, with its size written and drawn on it."""

from __future__ import annotations

import os
from pathlib import Path

from clar_calibration.board import Board

_POINTS_PER_M = 72.0 / 0.0254
_PAGES_M = {"A4": (0.297, 0.210), "A3": (0.420, 0.297), "letter": (0.2794, 0.2159)}
_MARGIN_M = 0.008
_TEXT_M = 0.012


def write_pdf(board: Board, path: Path) -> str:
    """Write the board as one vector page on the smallest paper that holds it; returns the name of the paper.

    Beside the pattern stand its true width, a line of that very length to lay a ruler on, and what board it is.
    """
    paper, (width, height) = _paper(board)
    x0 = 0.5 * (width - board.width_m)
    y0 = max(_MARGIN_M, 0.5 * (height - board.height_m - _TEXT_M))
    marks = [_rectangle(x0 + r.x, height - y0 - r.y - r.height, r.width, r.height) for r in board.rectangles()]
    line_y = height - y0 - board.height_m - 0.0045
    marks.append(_rectangle(x0, line_y, board.width_m, 0.0002))
    marks += [_rectangle(x - 0.0001, line_y - 0.0015, 0.0002, 0.003) for x in (x0, x0 + board.width_m)]
    texts = [
        (
            x0,
            line_y - 0.0045,
            f"This line, and the pattern, must measure {board.width_m * 1e3:.1f} mm. Print at 100 %.",
        ),
        (x0, line_y - 0.0085, f"CLAR calibration board: {board}"),
    ]
    stream = "0 g\n" + "\n".join(marks) + "\n" + "\n".join(_text(x, y, text) for x, y, text in texts) + "\n"
    content = _document(width, height, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)
    return paper


def _paper(board: Board) -> tuple[str, tuple[float, float]]:
    need = (board.width_m + 2 * _MARGIN_M, board.height_m + 2 * _MARGIN_M + _TEXT_M)
    for name, size in _PAGES_M.items():
        if need[0] <= size[0] and need[1] <= size[1]:
            return name, size
    return f"{need[0] * 1e3:.0f} x {need[1] * 1e3:.0f} mm", need


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    numbers = " ".join(f"{value * _POINTS_PER_M:.4f}" for value in (x, y, width, height))
    return f"{numbers} re f"


def _text(x: float, y: float, text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /F1 8 Tf {x * _POINTS_PER_M:.3f} {y * _POINTS_PER_M:.3f} Td ({escaped}) Tj ET"


def _document(width_m: float, height_m: float, stream: str) -> bytes:
    """A PDF 1.4 of one page."""
    box = f"[0 0 {width_m * _POINTS_PER_M:.4f} {height_m * _POINTS_PER_M:.4f}]"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}endstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)
