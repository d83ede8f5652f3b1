p='FORMAT.md'; s=open(p).read()
s=s.replace('''those of its second. Those of the root are, colour after colour, its samples in row-major order.
''','''those of its second.

The root is taken apart further, in one stage. Its picture of *step* 0 is the root; that of step j + 1 has half as many rows and
columns as that of step j, rounded up; that of the last step, S, has one sample. The latents of the root are, colour after
colour, that sample, then for step S − 1 down to 0 the details at the samples of the picture of step j + 1, band after band, in
row-major order. With a picture of step j of h rows and w columns the horizontal details are those of the first floor(w / 2)
columns, the vertical ones those of the first floor(h / 2) rows, the diagonal ones those of both; all others are 0 and have no
latent, so that there are as many latents as samples. The picture of step j is made of that of step j + 1 as that of a level is of
the coarser picture.
''')
s=s.replace('''*Root.* Mean 0; k = round(16 · log2(a / 63.75)) + 16 · n + m, a being 150, 60, 40 for the three colours,
clipped to −37 to 320.
''','''*Root.* Mean 0; k = round(16 · log2(a / 63.75)) + 16 · n + m, clipped to −37 to 320, a being for the three colours 90 · 2^S,
36 · 2^S, 20 · 2^S of the sample of step S; 55, 14, 8 of the details of step 0; 100, 28, 14 of those of step 1.
''')
open(p,'w').write(s)
p='tests/families/pyramid/test_pyramid_format.py'; s=open(p).read()
s=s.replace('''        numbers = [round(16 * math.log2(a / 63.75)) + 16 * levels + own for a in (150, 60, 40)[:colours]]
        moments = [(0, clipped(number, -37, 320)) for number in numbers for _ in range(high * wide)]
        values = self.stage(moments, (2, 1)[levels] if levels < 2 and final else 0, final and levels == 0, levels)
        values += [0] * (3 * high * wide - len(values))
        picture, parent = np.array(values, dtype=object).reshape(3, high, wide).tolist(), None
''','''        steps = RootSteps(high, wide)
        numbers = [
            round(16 * math.log2(a / 63.75)) + 16 * levels + own
            for colour in range(colours)
            for a in steps.deviations(colour)
        ]
        moments = [(0, clipped(number, -37, 320)) for number in numbers]
        values = self.stage(moments, (2, 1)[levels] if levels < 2 and final else 0, final and levels == 0, levels)
        values += [0] * (3 * high * wide - len(values))
        picture, parent = [steps.picture(values[high * wide * c : high * wide * (c + 1)]) for c in range(3)], None
''')
s=s.replace('''class Decoder(StageDecoder):
    """A file of an image."""
''','''class RootSteps:
    """What a root is taken apart to."""

    def __init__(self, rows, columns):
        self.sizes = [(rows, columns)]
        while self.sizes[-1] != (1, 1):
            self.sizes.append(tuple((side + 1) // 2 for side in self.sizes[-1]))

    def places(self):
        """Step, band, row and column of each detail in the order of the latents."""
        for step in range(len(self.sizes) - 2, -1, -1):
            (rows, columns), coarser = self.sizes[step], self.sizes[step + 1]
            for band, (y, x) in itertools.product(range(3), np.ndindex(*coarser)):
                if (band == 1 or x < columns // 2) and (band == 0 or y < rows // 2):
                    yield step, band, y, x

    def deviations(self, colour):
        yield (90, 36, 20)[colour] * 2 ** (len(self.sizes) - 1)
        for step, *_ in self.places():
            yield ((55, 14, 8), (100, 28, 14))[step][colour]

    def picture(self, values):
        details = dict(zip(self.places(), values[1:], strict=True))
        picture = {(0, 0): values[0]}
        for step in range(len(self.sizes) - 2, -1, -1):
            finer = {}
            for (y, x), s in picture.items():
                h, v, d = (details.get((step, band, y, x), 0) for band in range(3))
                finer |= {(2 * y, 2 * x): (s - h - v + d) // 2, (2 * y, 2 * x + 1): (s + h - v - d) // 2}
                finer |= {(2 * y + 1, 2 * x): (s - h + v - d) // 2, (2 * y + 1, 2 * x + 1): (s + h + v + d) // 2}
            picture = finer
        rows, columns = self.sizes[0]
        return [[picture[y, x] for x in range(columns)] for y in range(rows)]


class Decoder(StageDecoder):
    """A file of an image."""
''')
if '\nimport itertools' not in s: s=s.replace('import json\n','import itertools\nimport json\n',1)
open(p,'w').write(s)
p='tests/families/pyramid/test_pyramid_prior.py'; s=open(p).read()
a=s.index('def test_the_root_has_wide_priors_by_hand'); b=s.index('@pytest.mark.parametrize("threads"')
s=s[:a]+'''def test_the_root_has_wide_priors_by_hand():
    # 2 levels; 2^2 · a / 63.75 deviations of noise level 0, in sixteenths of an octave; 16 levels more are one octave
    moments = root_moments(2, (1, 2), 3, 16)  # one step: an average and a detail of each colour
    wide = (180, 55, 72, 14, 40, 8)
    assert moments.deviation.tolist() == [round(16 * math.log2(one / 63.75)) + 32 + 16 - LOWEST for one in wide]
    assert moments.mean.tolist() == [0] * 6
    moments = root_moments(0, (3, 4), 1, 16)  # two steps: of 2x2 samples, and of 3x4
    wide = (360, *[100] * 3, *[55] * (4 + 2 + 2))
    assert moments.deviation.tolist() == [round(16 * math.log2(one / 63.75)) + 16 - LOWEST for one in wide]
    assert root_moments(0, (1, 1), 1, -200).deviation.tolist() == [0]  # no narrower than that


'''+s[b:]
open(p,'w').write(s)
p='tests/families/pyramid/test_haar.py'; s=open(p).read()
s=s.replace('''def test_colours_are_orthonormal''','''@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_a_root_is_put_together_as_it_was_taken_apart(height, width, seed):
    root = np.random.default_rng(seed).integers(-(10**5), 10**5, (3, height, width)) * 4.0
    weights = haar.analyse_root(root)
    assert weights.shape == (3, height * width)
    again = haar.synthesise_root(weights, (height, width))
    assert again.shape == root.shape and np.abs(again - root).max() <= 1e-6


def test_a_root_by_hand():
    # one step gives the averages 4 and 14 in a row, and details; another one 9 and their difference, 5
    weights = haar.analyse_root(np.array([[[1.0, 3.0, 7.0], [1.0, 3.0, 7.0]]]))
    assert weights.tolist() == [[9, 5, 2, 0, 0, 0]]
    # the average times 2^2; then what the columns and the rows differ by, and the rest, in halves and in quarters
    smooth = haar.analyse_root(np.add.outer([0.0, 1.0, 2.0, 3.0], [0.0, 10.0, 20.0, 30.0])[None])[0]
    assert smooth.tolist() == [66, 40, 4, 0, *[10] * 4, *[1] * 4, *[0] * 4]


def test_colours_are_orthonormal''')
s=s.replace('''    picture = np.rint(plane.root * unit)[None]
''','''    picture = haar.synthesise_root(np.rint(haar.analyse_root(plane.root) * unit), plane.root.shape[1:])[None]
''')
open(p,'w').write(s)
