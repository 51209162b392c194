"""Lenses see one type as another, fit together with types checked, and find their way."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.errors import LensError
from atdata_core.lens import Lens, LensNetwork, find_lens, lens, structural_lens
from atdata_core.testing import assert_lens_laws


@atdata.packable
class Photo:
    pixels: NDArray[np.uint8]
    label: str
    stars: int


@atdata.packable
class Captioned:
    label: str
    stars: int


@atdata.packable
class Caption:
    text: str


@atdata.packable
class Loud:
    shout: str


@lens
def caption(photo: Photo) -> Caption:
    """Only the words."""
    return Caption(photo.label)


@caption.putter
def _(view: Caption, photo: Photo) -> Photo:
    return dataclasses.replace(photo, label=view.text)


@lens
def loud(view: Caption) -> Loud:
    return Loud(view.text.upper())


photos = st.builds(
    Photo, st.integers(0, 255).map(lambda n: np.full(3, n, np.uint8)), st.text(), st.integers(0, 5)
)


@given(st.lists(photos, min_size=1, max_size=3))
def test_a_lens_with_a_putter_keeps_the_laws(samples):
    assert_lens_laws(caption, samples, [Caption("a"), Caption("b")])


@given(st.lists(photos, min_size=1, max_size=2))
def test_a_structural_lens_keeps_the_laws(samples):
    assert_lens_laws(structural_lens(Photo, Captioned), samples, [Captioned("x", 1)])


@pytest.mark.parametrize(
    ("get", "put", "law"),
    [
        (lambda c: Loud(c.text), lambda _, c: Caption(c.text + "!"), "changes"),
        (lambda c: Loud(c.text), lambda _, c: c, "isn't got again"),
    ],
)
def test_a_lens_that_breaks_a_law_is_caught(get, put, law):
    broken = Lens(get, put, source_type=Caption, view_type=Loud)
    with pytest.raises(AssertionError, match=law):
        assert_lens_laws(broken, [Caption("a")], [Loud("b"), Loud("c")])


def test_the_laws_need_samples():
    with pytest.raises(ValueError, match="none"):
        assert_lens_laws(caption, [])


def test_lenses_compose_both_ways():
    photo = Photo(np.zeros(1, np.uint8), "hi", 3)
    for composed in (caption | loud, loud @ caption):
        assert composed(photo) == Loud("HI")
        assert (composed.source_type, composed.view_type) == (Photo, Loud)
    assert not (caption | loud).can_put


def test_a_composition_of_putters_puts():
    shout = Lens(
        lambda c: Loud(c.text),
        lambda view, _: Caption(view.shout),
        source_type=Caption,
        view_type=Loud,
    )
    photo = Photo(np.zeros(1, np.uint8), "hi", 3)
    assert (caption | shout).put(Loud("ho"), photo).label == "ho"
    assert_lens_laws(caption | shout, [photo], [Loud("x")])


def test_lenses_that_do_not_fit_are_refused():
    with pytest.raises(LensError, match="Caption"):
        caption | caption


def test_a_put_without_a_putter_is_refused_not_ignored():
    with pytest.raises(LensError, match="putter"):
        loud.put(Loud("X"), Caption("x"))


def test_a_putter_of_other_types_is_refused():
    with pytest.raises(LensError, match="Loud"):

        @caption.putter
        def _(view: Loud, photo: Photo) -> Photo:
            return photo


def test_a_lens_without_annotations_is_refused():
    with pytest.raises(LensError, match="annotated"):
        lens(lambda x: x)


def test_the_way_through_the_network_is_found():
    found = find_lens(Photo, Loud)
    assert found(Photo(np.zeros(1, np.uint8), "hey", 1)) == Loud("HEY")


def test_the_shortest_way_is_taken():
    network = LensNetwork()
    for step in (
        Lens(lambda p: Caption(p.label), source_type=Photo, view_type=Caption),
        Lens(lambda c: Loud("long way"), source_type=Caption, view_type=Loud),
        Lens(lambda p: Loud("short way"), source_type=Photo, view_type=Loud),
    ):
        network.register(step)
    assert network.find(Photo, Loud)(Photo(np.zeros(1, np.uint8), "", 0)) == Loud("short way")
    assert network.find(Loud, Photo) is None


def test_circles_end():
    network = LensNetwork()
    network.register(Lens(lambda c: Loud(c.text), source_type=Caption, view_type=Loud))
    network.register(Lens(lambda v: Caption(v.shout), source_type=Loud, view_type=Caption))
    assert network.find(Caption, Photo) is None


def test_fields_are_selected_where_no_lens_is_registered():
    found = find_lens(Photo, Captioned)
    assert found(Photo(np.zeros(1, np.uint8), "a", 2)) == Captioned("a", 2)


@atdata.packable
class Wrong:
    label: int


def test_no_way_names_the_field_that_is_missing():
    with pytest.raises(LensError, match="'label'"):
        find_lens(Photo, Wrong)
    with pytest.raises(LensError, match="'pixels'"):
        find_lens(Captioned, Photo)


def test_identity_is_there_for_every_type():
    photo = Photo(np.zeros(1, np.uint8), "a", 2)
    assert find_lens(Photo, Photo)(photo) is photo
    assert Lens.identity(Photo).put(photo, photo) is photo


def test_ways_are_found_while_lenses_are_added():
    network = LensNetwork()
    kinds = [type(f"Kind{number}", (), {}) for number in range(40)]

    class Slow(Lens):
        """Registers another lens of its own type while it is being composed."""

        def then(self, other):
            free = next((k for k in kinds if k not in network._lenses[Caption]), None)
            if free is not None:
                network.register(Lens(lambda c: c, source_type=Caption, view_type=free))
            return super().then(other)

    network.register(Slow(lambda p: Caption(p.label), source_type=Photo, view_type=Caption))
    for kind in kinds[:3]:
        network.register(Lens(lambda c: c, source_type=Caption, view_type=kind))
    assert network.find(Photo, kinds[2]) is not None
