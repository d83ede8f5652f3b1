"""Changes of bytes that parsers stumble over."""

from __future__ import annotations

import binascii
import random

import msgpack

NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63,
    2**64 - 1,
    -1,
    -(2**63),
)
_BYTES = (0x00, 0x01, 0x7F, 0x80, 0x90, 0x91, 0x9F, 0xA0, 0xC0, 0xC3, 0xC4, 0xC9, 0xCB, 0xCF, 0xD3, 0xDC, 0xDF, 0xFF)


def mutated(data: bytes, dice: random.Random, near: int | None = None) -> bytes:
    """Data with one to four changes, all of them among the first ``near`` bytes."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        end = min(len(changed), near or len(changed))
        place = dice.randrange(end + 1)
        match dice.randrange(7):
            case 0 if end:
                changed[min(place, end - 1)] ^= 1 << dice.randrange(8)
            case 1 if end:
                changed[min(place, end - 1)] = dice.choice(_BYTES)
            case 2:
                changed[place:place] = dice.randbytes(dice.randint(1, 9))
            case 3:
                del changed[place : place + dice.randint(1, 9)]
            case 4:
                del changed[place:]
            case 5:
                changed[place : place + 9] = msgpack.packb(dice.choice(NUMBERS))
            case _:
                changed[place:place] = changed[:place]
    return bytes(changed)


def resealed(data: bytes) -> bytes:
    """A file with the checksum of everything before its last four bytes there."""
    return data[:-4] + binascii.crc32(data[:-4]).to_bytes(4, "big")
