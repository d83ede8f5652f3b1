import re
p='combiner_cli/families/pyramid/haar.py'; s=open(p).read()
s=s.replace('''def analyse(picture: Array)''','''def root_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes of the pictures that a root is taken apart to, from its own to that of one sample.

    Args:
        size: height and width of the root.
    """
    pictures = [size]
    while max(pictures[-1]) > 1:
        height, width = pictures[-1]
        pictures.append((-(-height // 2), -(-width // 2)))
    return pictures


def analyse(picture: Array)''')
s=s.rstrip('\n')+'''


def analyse_root(root: Array) -> Array:
    """The weights of a root, as many as it has samples: its average, times 2^steps, then details, the coarsest first.

    Args:
        root: ``(colours, height, width)``.

    Returns:
        ``(colours, samples)``.
    """
    size, picture, parts = (root.shape[1], root.shape[2]), root, []
    for finer in root_sizes(size)[:-1]:
        picture, details = analyse(picture)
        parts.append([details[:, band, :rows, :columns] for band, rows, columns in _real_details(finer)])
    average: list[list[Array]] = [[picture]]
    return np.concatenate(
        [part.reshape(len(root), -1) for step in average + parts[::-1] for part in step], axis=1
    )


def synthesise_root(weights: Array, size: tuple[int, int]) -> Array:
    """The inverse of :func:`analyse_root` on whole numbers, ``(colours, *size)``: halves are rounded down.

    Args:
        weights: of the root, ``(colours, samples)``, of a type that holds sums of them.
        size: height and width of the root.
    """
    sizes, colours = root_sizes(size), len(weights)
    picture, first = weights[:, :1].reshape(colours, 1, 1), 1
    for coarser, finer in zip(sizes[:0:-1], sizes[-2::-1], strict=True):
        details = np.zeros((colours, BANDS, *coarser), dtype=weights.dtype)
        for band, rows, columns in _real_details(finer):
            last = first + rows * columns
            details[:, band, :rows, :columns] = weights[:, first:last].reshape(colours, rows, columns)
            first = last
        picture = synthesise(picture, details, finer)
    return picture


def _real_details(size: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Bands of the details of a picture, each with its rows and columns: those that no repeated sample has a part in.

    Args:
        size: height and width of the picture.
    """
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    yield 0, rows, size[1] // 2
    yield 1, size[0] // 2, columns
    yield 2, size[0] // 2, size[1] // 2
'''
s=s.replace('import math\nfrom typing import Any','import math\nfrom collections.abc import Iterator\nfrom typing import Any')
open(p,'w').write(s)
p='combiner_cli/families/pyramid/decoder.py'; s=open(p).read()
s=s.replace('''_ROOT_DEVIATION = (150.0, 60.0, 40.0)  # of the root's colours, times 2^levels, in 255ths of the range
''','''# of the root's colours, times 2^levels, in 255ths of the range: of its average, which is times 2^steps besides, and of
# its details, the finest first
_AVERAGE_DEVIATION = (90.0, 36.0, 20.0)
_DETAIL_DEVIATIONS = ((55.0, 14.0, 8.0), (100.0, 28.0, 14.0))
''')
s=s.replace('''        picture, classes, level = weights.reshape(1, colours, *sizes[-1]), None, None
''','''        root_weights = weights.astype(np.float64).reshape(colours, -1)
        picture, classes, level = haar.synthesise_root(root_weights, sizes[-1])[None], None, None
''')
a=s.index('    """Moments of the root, the same for all pictures'); b=s.index('@dataclass(frozen=True, eq=False)\nclass PlaneRendering')
s=s[:a]+'''    """Moments of the root, the same for all pictures: mean 0, and deviations by colour and scale.

    Args:
        count: of levels.
        size: height and width of the root.
        colours: 1 or 3.
        noise_level: of the file.
    """
    sizes = haar.root_sizes(size)
    samples = [height * width for height, width in sizes]
    counts = [finer - coarser for finer, coarser in pairwise(samples)]  # of details, the finest first
    steps = len(counts)
    wanted = np.array([np.array(_AVERAGE_DEVIATION) * 2**steps, *_DETAIL_DEVIATIONS[:steps][::-1]])[:, :colours]
    # 2^levels / (noise deviation) in sixteenths of an octave; a noise level is one of those
    numbers = np.rint(np.log2(wanted / 63.75) * OCTAVE) + OCTAVE * count + noise_level
    deviation = np.repeat(np.clip(numbers, LOWEST, HIGHEST) - LOWEST, [1, *counts[::-1]], axis=0)
    return Moments(np.zeros(deviation.size), deviation.T.reshape(-1).astype(np.int16))


'''+s[b:]
s=s.replace('from dataclasses import dataclass, replace\n','from dataclasses import dataclass, replace\nfrom itertools import pairwise\n')
open(p,'w').write(s)
p='combiner_cli/families/pyramid/encoder.py'; s=open(p).read()
s=s.replace('''            true = self.plane.root[: self.plane.colours].reshape(-1)
''','''            true = haar.analyse_root(self.plane.root[: self.plane.colours]).reshape(-1)
''')
open(p,'w').write(s)
