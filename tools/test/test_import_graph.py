"""The architecture page agrees with the imports of the packages."""

import import_graph
import pytest


def test_the_page_is_up_to_date() -> None:
    page = import_graph.PAGE.read_text(encoding='utf-8')
    assert import_graph.update_page(page) == page, 'run python tools/import_graph.py'


@pytest.mark.parametrize('package', import_graph.PACKAGES)
def test_every_import_is_drawn_or_follows_from_others(package: str) -> None:
    graph = import_graph.read_imports(package, package)
    reduced = import_graph.reduce_graph(graph)
    for unit, imported in graph.items():
        reached, pending = set(), {unit}
        while pending:
            reached |= pending
            pending = set().union(*(reduced[other] for other in pending)) - reached
        assert imported <= reached, unit


def test_implied_edges_are_removed() -> None:
    graph = {'a': {'b', 'c'}, 'b': {'c'}, 'c': set()}
    assert import_graph.reduce_graph(graph) == {'a': {'b'}, 'b': {'c'}, 'c': set()}


def test_a_page_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match='<!-- begin diagram of mnssd_perception -->'):
        import_graph.update_page('# Architecture\n')
