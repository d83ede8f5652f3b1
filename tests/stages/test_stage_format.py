"""The range coder, the groups and the header of files that are coded stage by stage, as FORMAT.md has them."""

import re
from pathlib import Path

import constriction
import numpy as np
import pytest
from support.plain_stages import RangeDecoder, Share, parsed
from support.priors import tiny_priors

from combiner_cli.container.file import File, pack
from combiner_cli.signals.signal import Format
from combiner_cli.stages.allocation import GroupAllocator
from combiner_cli.stages.class_stream import SymbolReader
from combiner_cli.stages.moments import StageId

FORMAT = (Path(__file__).parents[2] / "FORMAT.md").read_text()


def some_frequencies(generator, count):
    powers = np.exp(generator.normal(0, generator.choice([0.3, 2, 6]), (count, 9)))
    shares = 1 + np.floor(powers / powers.sum(axis=1, keepdims=True) * (65536 - 9)).astype(int)
    shares[np.arange(count), powers.argmax(axis=1)] += 65536 - shares.sum(axis=1)
    return shares


@pytest.mark.parametrize("seed", range(8))
def test_the_range_decoder_is_that_of_the_library(seed):
    generator = np.random.default_rng(seed)
    table, model = some_frequencies(generator, 200), constriction.stream.model.Categorical(perfect=False)
    probabilities = (table / 65536).astype(np.float32)
    symbols = np.array([generator.choice(9, p=row / 65536) for row in table], dtype=np.int32)
    symbols[::7] = generator.integers(0, 9, len(symbols[::7]))
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols, model, probabilities)
    plain = RangeDecoder(encoder.get_compressed().astype(">u4").tobytes().rstrip(b"\0"))
    assert [plain.decode(row.tolist()) for row in table] == symbols.tolist()
    noise = generator.integers(0, 2**32, 20, dtype=np.uint32)  # runs out long before the last symbol
    plain = RangeDecoder(noise.astype(">u4").tobytes())
    expected = constriction.stream.queue.RangeDecoder(noise).decode(model, probabilities)
    assert [plain.decode(row.tolist()) for row in table] == expected.tolist()


def worked_example():
    """The bytes of the example of a file with a pyramid prior."""
    (dump,) = re.findall(r"```\w*\n(43 4d 42[^`]*densities 80 to 87[^`]*)```", FORMAT)
    return bytes.fromhex("".join(line.split("#")[0] for line in dump.splitlines()))


def test_the_worked_example():
    data = worked_example()
    prior_id, shape, numbers, payload = parsed(data, (4, 0, 0))
    assert (prior_id, shape) == (0x13579BDF, [2, 6, 5])
    assert numbers == [40, 4, [*range(80, 88)], 1]
    fields = tiny_priors()["pyramid"].fields
    file = File.parse(data)
    assert file.format == Format("image", (6, 5), 3, 8, None)
    by_name, rest = file.numbers(fields)
    assert by_name == {"noise": (40,), "class_bytes": (4,), "densities": tuple(range(80, 88)), "chains": (1,)}
    assert bytes(rest) == payload
    assert pack(prior_id, file.format, fields, by_name, payload) == data
    frequencies = [32768] + [4096] * 8
    plain = RangeDecoder(payload[:4])
    assert [plain.decode(frequencies) for _ in range(8)] == [3, 0, 0, 5, 1, 0, 0, 2]
    table = np.tile(np.array(frequencies, dtype=float)[:, None], 8)
    assert SymbolReader(payload[:4]).read(table).tolist() == [3, 0, 0, 5, 1, 0, 0, 2]
    information = [3000, 2000, 1500, 900, 800, 1000, 600]
    share = Share(list(range(80, 88)), 5)
    assert [share.take(bits, density, density == 7) for density, bits in enumerate(information, 1)] == [
        1,
        1,
        0,
        1,
        0,
        0,
        2,
    ]
    allocator = GroupAllocator(list(range(80, 88)), 5, StageId(0, 5))
    stages = [StageId(1, 0), *(StageId(0, number) for number in range(6))]
    assert [allocator.take(*one) for one in zip(stages, information, strict=True)] == [1, 1, 0, 1, 0, 0, 2]
    assert list(payload[4:]) == [18, 255, 7, 64, 200]
