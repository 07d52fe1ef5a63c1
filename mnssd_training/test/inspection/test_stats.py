"""Statistics of known samples, as values, text and pages."""

from collections.abc import Callable
from html.parser import HTMLParser

from mnssd_training.data import Sample
from mnssd_training.inspection.stats import (
    _group_counts,
    BINS,
    measure_split,
    stats_page,
    stats_text,
)

NAMES = ('Person', 'Car')


def test_no_samples() -> None:
    stats = measure_split([], NAMES, (300, 300))
    assert (stats.num_images, stats.num_empty, stats.boxes_per_image) == (0, 0, ())
    assert stats.classes['Car'].num_boxes == 0
    assert stats.classes['Car'].size == ()
    assert 'Car' in stats_text({'train': stats})
    assert 'Car' in stats_page('nothing', {'train': stats})


def test_known_boxes(make_sample: Callable[..., Sample]) -> None:
    samples = [
        make_sample([(0, 0, 20, 20), (0, 0, 200, 50)], [0, 1], size=(400, 800)),
        make_sample([(300, 300, 316, 364)], [1], ignore=[(0, 0, 9, 9)], ignore_labels=[1]),
        make_sample(),
    ]
    stats = measure_split(samples, NAMES, (200, 400), 'stretch')
    assert (stats.num_images, stats.num_empty) == (3, 1)
    assert stats.boxes_per_image == (1, 1, 1)
    assert stats.image_sizes == (((640, 512), 2), ((800, 400), 1))
    person, car = stats.classes.values()
    assert (person.num_boxes, person.num_images, person.num_ignored) == (1, 1, 0)
    assert (car.num_boxes, car.num_images, car.num_ignored) == (2, 2, 1)
    assert person.size == (20.0,) * 5
    assert car.width[2] == (200 + 16) / 2
    assert car.in_source == (0, 1, 1)  # 32 is medium, 100 is large
    assert car.in_network == (1, 1, 0)  # 100 is halved
    assert sum(car.histogram) == 2
    assert car.histogram[10] == 1  # 32 pixels are ten half octaves


def test_centres_are_counted_by_their_position(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample([(0, 0, 4, 4), (636, 508, 640, 512)], [0, 0])
    centres = measure_split([sample], NAMES).centres
    assert (len(centres), len(centres[0])) == BINS
    assert (centres[0][0], centres[-1][-1], sum(map(sum, centres))) == (1, 1, 2)


def test_sizes_in_the_network_need_a_network(train_samples: list[Sample]) -> None:
    stats = measure_split(train_samples, ('Person', 'Car', 'Bicycle', 'OtherVehicle'))
    assert all(one.in_network == () for one in stats.classes.values())


def test_images_are_grouped_by_their_number_of_objects(make_sample: Callable[..., Sample]) -> None:
    boxes = [(10 * i, 0, 10 * i + 5, 5) for i in range(45)]
    stats = measure_split([make_sample(boxes, [0] * 45), make_sample()], NAMES)
    counts, edges = _group_counts(stats.boxes_per_image)
    assert (len(counts), counts[0], counts[-1]) == (16, 1, 1)
    assert edges[:3] == ['0', '3', '6']
    assert len(edges) == 17
    assert _group_counts((2, 1)) == ([2, 1], ['0', '1'])
    assert _group_counts(()) == ([], [])


class Balance(HTMLParser):
    """Notices tags that are not closed, and addresses of other files."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ('meta', 'img', 'br'):
            self.open.append(tag)
        self.addresses += [value or '' for key, value in attrs if key in ('src', 'href')]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_valid_and_needs_no_other_file(make_sample: Callable[..., Sample]) -> None:
    stats = measure_split([make_sample([(0, 0, 20, 20)], [0])], ('<Person>', 'Car'))
    page = stats_page('a <set> & more', {'train': stats})
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert balance.addresses
    assert all(one.startswith('data:image/svg+xml;base64,') for one in balance.addresses)
    assert '<Person>' not in page
    assert '&lt;Person&gt;' in page
    assert 'a &lt;set&gt; &amp; more' in page
