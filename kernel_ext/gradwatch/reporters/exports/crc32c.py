"""CRC-32C (Castagnoli), as TensorBoard's event files have it; numpy over blocks, for event files are long."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_BLOCK = 512
_SHORT = 64
_ONES = 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Return the checksum, rotated and shifted as record files want it."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES


def crc32c(data: bytes) -> int:
    """Return the checksum of `data`."""
    if len(data) < _SHORT:
        return _advance(_ONES, data) ^ _ONES
    # Beginning with ones is beginning with zero and the first four bytes inverted; then zeros in front change nothing.
    inverted = bytes(byte ^ 0xFF for byte in data[:4]) + data[4:]
    padded = bytes(-len(data) % _BLOCK) + inverted
    blocks = np.reshape(np.frombuffer(padded, np.uint8), (-1, _BLOCK))
    parts = _contributions()[np.arange(_BLOCK), blocks]
    while parts.shape[1] > 1:
        parts = parts[:, ::2] ^ parts[:, 1::2]
    shift = _block_shift()
    crc = 0
    for part in parts[:, 0].tolist():
        crc = shift[0][crc & 0xFF] ^ shift[1][crc >> 8 & 0xFF] ^ shift[2][crc >> 16 & 0xFF] ^ shift[3][crc >> 24] ^ part
    return crc ^ _ONES


def _advance(crc: int, data: bytes) -> int:
    table = _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


@cache
def _table() -> list[int]:
    table: list[int] = []
    for entry in range(256):
        value = entry
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@cache
def _contributions() -> NDArray[np.uint32]:
    """What a byte at each place of a block adds to the block's checksum, (block, 256)."""
    table = np.array(_table(), dtype=np.uint32)
    rows = [table]
    while len(rows) < _BLOCK:
        rows.append(_one_byte_on(table, rows[-1]))
    return np.stack(rows[::-1])


@cache
def _block_shift() -> list[list[int]]:
    """What each byte of a checksum becomes when a block of zeros follows."""
    table = np.array(_table(), dtype=np.uint32)
    shifts: list[list[int]] = []
    for place in range(4):
        values = np.arange(256, dtype=np.uint32) << np.uint32(8 * place)
        for _ in range(_BLOCK):
            values = _one_byte_on(table, values)
        shifts.append(values.tolist())
    return shifts


def _one_byte_on(table: NDArray[np.uint32], values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return table[values & np.uint32(0xFF)] ^ (values >> np.uint32(8))
