"""What the compiled nodes of a stop's graph open into: regions that were seen being compiled, in the stop's own ids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.capture.graph import column
from gradwatch.capture.sites import UNKNOWN, Place
from gradwatch.records import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.capture.live_graph import Reading, Witness
    from gradwatch.records import Column, CompiledRegion


def regions_at_stop(reading: Reading, witness: Witness) -> list[CompiledRegion]:
    """The regions that the labels of the graph refer to. Lines of theirs that are new are added to `reading.sites`."""
    if witness.compiled is None:
        return []
    regions = witness.compiled.regions_of(reading.graph.labels)
    if not regions:
        return []
    site = _site_numbers(reading.sites, witness)
    return [
        replace(
            region,
            site=_renumbered(region.site, site),
            project_site=_renumbered(region.project_site, site),
            module=_renumbered(region.module, witness.module),
        )
        for region in regions
    ]


def _site_numbers(sites: list[Site], witness: Witness) -> Callable[[int], int]:
    known = {_place(site): site.id for site in sites}
    places = witness.sites.places()

    def number(recorded: int) -> int:
        place = places.get(recorded)
        if place is None:
            return UNKNOWN
        if place not in known:
            known[place] = len(sites)
            of_place = (place.file, place.line, place.function, place.column, place.end_line, place.end_column)
            sites.append(Site(len(sites), *of_place))
        return known[place]

    return number


def _place(site: Site) -> Place:
    return Place(site.file, site.function, site.line, site.column, site.end_line, site.end_column)


def _renumbered(ids: Column, number: Callable[[int], int]) -> Column:
    values = np.frombuffer(ids.data, np.dtype(ids.dtype))
    distinct, inverse = np.unique(values, return_inverse=True)
    new = np.array([-1 if each < 0 else number(each) for each in distinct.tolist()], np.int64)
    return column(new[inverse], ids.dtype)
