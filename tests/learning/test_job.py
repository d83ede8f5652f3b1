"""A learning as a job: options and what they may be, families that refuse, the result and its card."""

from dataclasses import dataclass

import pytest
from support.training import Recorded, StoppedError, Walk, plan

from combiner_cli.errors import DatasetError, UsageError
from combiner_cli.families import registry
from combiner_cli.learning import job
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.distributed import CPU, Device, ProcessGroup
from combiner_cli.learning.estimate import ResourceEstimate
from combiner_cli.learning.gradients import GRADIENT_OPTIONS
from combiner_cli.learning.job import Learning, LearningOption, LearningRequest
from combiner_cli.learning.report import CardText, ReportStyle

COUNT = LearningOption("some_count", "integer", "How many.", default=3, least=1, most=9)
SHARE = LearningOption("share", "number", "How much.", above=0)
WAY = LearningOption("way", "choice", "How.", default="straight", choices=("straight", "round"))
SIZES = LearningOption("size", "integer", "How large.", least=2, several=True)
OPTIONS = (COUNT, SHARE, WAY, SIZES)


def test_what_is_not_given_has_its_default():
    values = {"some_count": 3, "share": None, "way": "straight", "size": None}
    assert job.completed(OPTIONS, {}, "walk") == values
    assert job.completed(OPTIONS, dict.fromkeys(values) | {"size": ()}, "walk") == values
    given = {"some_count": 1, "share": 1, "way": "round", "size": [2, 4]}
    assert job.completed(OPTIONS, given, "walk") == given | {"size": (2, 4)}
    assert job.completed(OPTIONS, {"size": 8}, "walk")["size"] == (8,)
    assert COUNT.flag == "--some-count"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"some_count": 0}, "--some-count takes a whole number of at least 1, not 0"),
        ({"some_count": 10}, "--some-count takes a whole number of at most 9, not 10"),
        ({"some_count": 1.5}, "--some-count takes a whole number, not 1.5"),
        ({"some_count": True}, "--some-count takes a whole number, not True"),
        ({"some_count": "3"}, "--some-count takes a whole number, not 3"),
        ({"share": 0.0}, "--share takes a number above 0, not 0.0"),
        ({"share": float("nan")}, "--share takes a number, not nan"),
        ({"way": "back"}, "--way is one of straight, round, not back"),
        ({"size": (4, 1)}, "--size takes a whole number of at least 2, not 1"),
        ({"top_speed": 3}, "--top-speed does not go with --family walk; see combiner learn-prior --family walk -h"),
    ],
)
def test_what_an_option_cannot_be_is_refused(given, words):
    with pytest.raises(UsageError) as refusal:
        job.completed(OPTIONS, given, "walk")
    assert str(refusal.value) == words


@pytest.mark.parametrize("family", registry.names())
def test_the_options_of_a_family_are_its_own_and_have_good_defaults(family):
    options = registry.get(family).options()
    names = [option.name for option in options]
    assert len(set(names)) == len(names)
    for option in options:
        assert option.help.endswith(".")
        assert option.default is not None or option.default_text
        if option.default is not None:
            assert option.checked(option.default) == option.default


def test_options_of_one_name_are_of_one_type_in_all_families():
    """The command line has to read them before it knows the family."""
    kinds = {}
    for family in registry.names():
        for option in registry.get(family).options():
            kinds.setdefault(option.name, set()).add((option.type, option.choices, option.several))
    assert all(len(kind) == 1 for kind in kinds.values())
    common = {"name", "dataset", "held_out", "seed", "description", "device", "checkpoint", "listener", "threads"}
    assert not common & set(kinds)


@dataclass(frozen=True)
class Folder:
    """As much of a data set as a job looks at."""

    kind: str = "image"
    source: str = "pictures"


class WalkLearning(Learning):
    """The learning of a walk."""

    family, device, plan, uses_torch = "walk", CPU, plan(), False
    style = ReportStyle("length", "steps", "Length of the steps", details={"height": ".1f"})

    def __init__(self, request=None, patience=None):
        self.request = request
        if patience is not None:
            self.plan = plan(60, patience)

    def estimate(self):
        return ResourceEstimate(1, 1, self.plan.steps, 1e9, 0.0, speed=1e9)

    def training(self):
        return Walk(every=1, held_out_at=5.0)

    def card_text(self, prior, measurements):
        return CardText("walk", "paths", "Legs", f"{measurements[-1].number} steps", "bits per path")


class WalkFamily:
    """As much of a family as a job looks at."""

    name, kinds = "walk", ("image",)

    def __init__(self, *options):
        self._options = options

    def options(self):
        return self._options

    def learning(self, request):
        return WalkLearning(request)


class Start:
    """A prior to learn on."""

    name, family = "mine", registry.get("siren")


def begun(*options, device=CPU, kind="image", **given):
    return job.begin(WalkFamily(*options), LearningRequest("p", Folder(kind), device=device, options=given))


def test_a_family_gets_all_its_options():
    learning = begun(*OPTIONS, share=0.5)
    assert learning.request.options == {"some_count": 3, "share": 0.5, "way": "straight", "size": None}


def test_what_a_family_cannot_learn_is_refused():
    with pytest.raises(DatasetError, match="pictures holds sounds; the walk family is for images"):
        begun(kind="sound")
    two = Device(processes=ProcessGroup(0, 2))
    with pytest.raises(UsageError, match="a walk prior is learned by one process"):
        begun(device=two)
    with pytest.raises(UsageError, match="--shards 3 cannot be shared by 2 processes; give a multiple"):
        begun(*GRADIENT_OPTIONS, device=two, shards=3)
    assert begun(*GRADIENT_OPTIONS, device=two, shards=4).request.options["shards"] == 4
    with pytest.raises(UsageError, match="--start mine is of the siren family"):
        begun(*GRADIENT_OPTIONS, start=Start())


def test_a_job_is_done_told_and_resumed(tmp_path):
    checkpoint, seen = CheckpointFile(tmp_path / "x", 0.0), Recorded()
    with pytest.raises(StoppedError):
        job.run(WalkLearning(), Recorded(4), checkpoint)
    result = job.run(WalkLearning(), seen, checkpoint)
    assert seen.steps == [4, 5, 6, 7, 8, 9]
    assert seen.shares == [0.0, 1.0]
    assert len(result.measurements) == 9
    assert result.remark is None
    assert result.curves.numbers == tuple(range(1, 10))
    assert job.run(WalkLearning()).measurements == result.measurements


def test_an_early_end_is_remarked_upon():
    remark = job.run(WalkLearning(patience=2)).remark
    assert remark.startswith("ended early, after step ")
    assert remark.endswith("the best one, becomes the prior")


class Marked:
    """What a card says of a prior."""

    name, kind, id = "p", "image", 0xABCDEF

    def tensors(self):
        return {}


def test_a_card_has_a_picture_or_a_drawing(monkeypatch):
    result = job.run(WalkLearning())
    object.__setattr__(result, "prior", Marked())
    assert "![length, steps, by step](p.svg)" in result.card("combiner x", "5 s", "p.svg")
    plot = result.card("combiner x", "5 s").split("```")[1].strip().splitlines()
    assert plot[0] == "length, steps: ⣀⣀ training  ▄▄ held out"
    assert len(plot) == 1 + 14 + 2


def test_steps_are_timed_without_taking_them(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(job.time, "perf_counter", lambda: next(clock))
    taken = []

    class Timed(WalkLearning):
        uses_torch = True

        def training(self):
            walk = Walk()
            taken.append(walk)
            return walk

    estimate = job.timed(Timed())
    assert estimate.seconds() == pytest.approx(9 * 3.0)
    assert taken[0].height > 0
    assert job.timed(WalkLearning()).seconds() == 9  # of a round it would take too long
