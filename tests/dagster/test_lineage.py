"""Which column a column comes from: known of promoted datasets, else said by their author."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata_core import Dataset, packable
from atdata_core.errors import ConfigurationError
from atdata_dagster import (
    build_dataset_specs,
    build_definitions,
    dataset_asset,
    dataset_multi_asset,
    external_dataset_asset,
)
from atdata_dagster.components import DatasetComponent

LINEAGE = "dagster/column_lineage"


@packable
class Picture:
    """A picture, and what is on it."""

    image: NDArray[np.uint8]
    label: str


@packable
class Features:
    """What is computed from a picture."""

    vector: NDArray[np.float32]
    label: str
    number: int


def pictures() -> Iterator[Picture]:
    """Three pictures."""
    for number in range(3):
        yield Picture(image=np.full((4, 4), number, np.uint8), label=str(number))


def features(pictures: Dataset[Picture]) -> Iterator[Features]:
    """Their means."""
    for number, picture in enumerate(pictures):
        yield Features(np.array([picture.image.mean()], np.float32), picture.label, number)


def plain(value):
    """Of each column, the assets and columns that it comes from."""
    lineage = getattr(value, "value", value)
    return {
        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for column, deps in lineage.deps_by_column.items()
    }


def materialized(defs, instance):
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance)
    assert result.success
    return {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
    }


def test_each_column_of_a_promoted_dataset_comes_from_itself(services, instance, fresh):
    layers = ("team", "atmosphere")
    chain = dataset_asset(Picture, name=fresh, promote=layers)(pictures)
    found = materialized(build_definitions(chain), instance)
    assert LINEAGE not in found[f"local/{fresh}"]
    for layer, before in (("team", "local"), ("atmosphere", "team")):
        expected = {name: [(f"{before}/{fresh}", name)] for name in ("image", "label")}
        assert plain(found[f"{layer}/{fresh}"][LINEAGE]) == expected
        # What is shown is what is there: the columns are those of the schema.
        columns = found[f"{layer}/{fresh}"]["dagster/column_schema"].value.columns
        assert [column.name for column in columns] == list(expected)
    specs = {spec.key: spec for spec in build_dataset_specs(Picture, name=fresh, promote=layers)}
    for spec in build_definitions(chain).resolve_all_asset_specs():
        if spec.key.path[-2] != "schema":
            said, alone = (each.metadata.get(LINEAGE) for each in (spec, specs[spec.key]))
            assert (said and plain(said)) == (alone and plain(alone))


def test_what_an_author_says_of_columns_is_shown(services, instance, fresh):
    source = dataset_asset(Picture, name=fresh)(pictures)
    derived = dataset_asset(
        Features,
        name=f"{fresh}_f",
        promote=("team",),
        ins={"pictures": source.key()},
        columns={"vector": ["pictures.image"], "label": "pictures.label", "number": []},
    )(features)
    defs = build_definitions(source, derived)
    expected = {
        "vector": [(f"local/{fresh}", "image")],
        "label": [(f"local/{fresh}", "label")],
        "number": [],
    }
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    assert plain(specs[derived.key()].metadata[LINEAGE]) == expected
    found = materialized(defs, instance)
    assert plain(found[f"local/{fresh}_f"][LINEAGE]) == expected
    assert plain(found[f"team/{fresh}_f"][LINEAGE])["vector"] == [(f"local/{fresh}_f", "vector")]


def test_columns_of_several_datasets_of_one_function(services, instance, fresh):
    source = dataset_asset(Picture, name=fresh)(pictures)
    one, other = f"{fresh}_a", f"{fresh}_b"

    @dataset_multi_asset(
        {one: Picture, other: Picture},
        ins={"found": source.key()},
        columns={one: {"label": "found.label"}},
    )
    def halves(found: Dataset[Picture]):
        return {one: found, other: found}

    found = materialized(build_definitions(source, *halves), instance)
    assert plain(found[f"local/{one}"][LINEAGE]) == {"label": [(f"local/{fresh}", "label")]}
    assert LINEAGE not in found[f"local/{other}"]

    def nothing():
        return {}

    with pytest.raises(ConfigurationError, match="names no dataset"):
        dataset_multi_asset({one: Picture}, columns={other: {}})(nothing)


def test_what_is_promoted_from_files_has_their_columns(fresh):
    chain = external_dataset_asset(Picture, name=fresh, files="/nowhere.tar", promote=("team",))
    spec = chain.datasets["team"].specs_by_key[chain.key("team")]
    assert plain(spec.metadata[LINEAGE])["image"] == [(f"local/{fresh}", "image")]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"vektor": "pictures.image"}, ["Features", "vector, label, number", "'vektor'"]),
        ({"vector": "pictures.picture"}, ["Picture", "image, label", "'picture'"]),
        ({"vector": "images.image"}, ["parameter.field, of pictures", "'images.image'"]),
        ({"vector": "pictures"}, ["parameter.field", "'pictures'"]),
    ],
)
def test_columns_that_are_not_there_are_named(fresh, columns, words):
    with pytest.raises(ConfigurationError) as caught:
        dataset_asset(Features, name=fresh, columns=columns)(features)
    for word in (fresh, *words):
        assert word in str(caught.value)


def test_columns_in_yaml():
    component = DatasetComponent.from_attributes_dict(
        attributes={
            "name": "features",
            "sample_type": f"{__name__}.Features",
            "source": f"{__name__}.features",
            "columns": {"vector": ["pictures.image"], "label": "pictures.label"},
        }
    )
    sys.modules.setdefault(__name__, sys.modules[Features.__module__])
    chain = component.build_chain()
    spec = chain.datasets["local"].specs_by_key[chain.key()]
    assert plain(spec.metadata[LINEAGE]) == {
        "vector": [("local/pictures", "image")],
        "label": [("local/pictures", "label")],
    }
